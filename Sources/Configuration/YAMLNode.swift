/// A value in a YAML text, with the place where it stands.
package struct YAMLNode: Sendable {
    package enum ScalarStyle: Sendable {
        /// Written without quotes: may be a number, a truth value or null.
        case plain
        /// In quotes or as a block: always a text.
        case quoted
    }

    package struct Entry: Sendable {
        package let key: String
        package let keyPosition: SourcePosition
        package let value: YAMLNode
    }

    package enum Content: Sendable {
        case scalar(String, ScalarStyle)
        case sequence([YAMLNode])
        /// In the order of the text; no key occurs twice.
        case mapping([Entry])
    }

    package let content: Content
    package let position: SourcePosition

    package init(_ content: Content, at position: SourcePosition) {
        self.content = content
        self.position = position
    }

    /// Whether nothing is written, or `null` or `~`.
    package var isNull: Bool {
        guard case .scalar(let text, .plain) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    package var entries: [Entry]? {
        guard case .mapping(let entries) = content else { return nil }
        return entries
    }

    package var elements: [YAMLNode]? {
        guard case .sequence(let elements) = content else { return nil }
        return elements
    }

    package var text: String? {
        guard case .scalar(let text, _) = content, !isNull else { return nil }
        return text
    }

    /// What the node is, for a message: `a list`, `the text "x"`.
    package var kind: String {
        switch content {
        case .sequence: "a list"
        case .mapping: "a mapping"
        case .scalar where isNull: "empty"
        case .scalar(let text, _): quoted(text)
        }
    }
}

extension YAMLNode: Equatable {
    /// Equal values; where they stand does not matter, nor does the order of keys.
    package static func == (left: YAMLNode, right: YAMLNode) -> Bool {
        switch (left.content, right.content) {
        case (.scalar(let a, let x), .scalar(let b, let y)): a == b && x == y
        case (.sequence(let a), .sequence(let b)): a == b
        case (.mapping(let a), .mapping(let b)):
            a.count == b.count
                && Dictionary(a.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
                    == Dictionary(b.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        default: false
        }
    }
}
