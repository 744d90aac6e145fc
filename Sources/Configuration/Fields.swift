/// Reads the members of a mapping, strictly. What is wrong goes to the diagnostics and reads as absent, so that one pass finds everything.
///
/// Every key that is asked for is a known one; `finish()` reports the others, each with the closest known name.
package struct Fields {
    /// Where the mapping stands.
    package let position: SourcePosition
    package let diagnostics: Diagnostics
    private let values: [String: YAMLNode.Entry]
    private let order: [YAMLNode.Entry]
    private let noun: String
    private let isMapping: Bool
    private var known: [String] = []

    /// - Parameters:
    ///   - node: the mapping. Nil and null count as an empty one; anything else is an error.
    ///   - noun: what a member is called in a message: `key`, `parameter`.
    ///   - position: where an absent mapping would stand.
    package init(
        _ node: YAMLNode?,
        _ diagnostics: Diagnostics,
        noun: String = "key",
        at position: SourcePosition = .start
    ) {
        self.diagnostics = diagnostics
        self.noun = noun
        self.position = node?.position ?? position
        isMapping = node.map { $0.entries != nil || $0.isNull } ?? true
        order = node?.entries ?? []
        values = Dictionary(order.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        if let node, !isMapping {
            diagnostics.error("must be a mapping (key: value), not \(node.kind)", at: node.position)
        }
    }

    /// The member, or nil when it is absent or null.
    package mutating func node(_ key: String) -> YAMLNode? {
        known.append(key)
        guard let value = values[key]?.value, !value.isNull else { return nil }
        return value
    }

    /// Where a member's value stands; where the mapping stands when it is absent.
    package func position(of key: String) -> SourcePosition {
        values[key]?.value.position ?? position
    }

    /// Where a member's key stands; where the mapping stands when it is absent.
    package func keyPosition(of key: String) -> SourcePosition {
        values[key]?.keyPosition ?? position
    }

    /// Reports that a member without which the mapping makes no sense is absent or empty; nothing when another report explains it.
    package func reportMissing(_ key: String) {
        guard isMapping else { return }
        if let value = values[key]?.value, !value.isNull, value.text != "" { return }
        diagnostics.error("missing \(noun) \(quoted(key))", at: position(of: key))
    }

    /// Says that a member has no meaning yet, if it is there.
    package mutating func unavailable(_ key: String) {
        if node(key) != nil {
            diagnostics.error(
                "\(noun) \(quoted(key)) is not available yet in this version",
                at: keyPosition(of: key)
            )
        }
    }

    /// Reports each member that nobody asked for.
    package func finish() {
        for entry in order where !known.contains(entry.key) {
            let hint = diagnostics.isFull ? "" : ClosestName.hint(for: entry.key, among: known)
            diagnostics.error("unknown \(noun) \(quoted(entry.key))\(hint)", at: entry.keyPosition)
        }
    }

    // MARK: Scalars

    package mutating func string(_ key: String) -> String? {
        guard let node = node(key) else { return nil }
        if case .scalar(let text, _) = node.content { return text }
        return wrong(key, "a text", node)
    }

    /// One of a few words.
    package mutating func string(_ key: String, oneOf words: [String]) -> String? {
        guard let text = string(key) else { return nil }
        if words.contains(text) { return text }
        let hint = ClosestName.hint(for: text, among: words)
        diagnostics.error(
            "\(noun) \(quoted(key)) must be one of \(words.joined(separator: ", ")), not \(quoted(text))\(hint)",
            at: position(of: key)
        )
        return nil
    }

    package mutating func bool(_ key: String) -> Bool? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let text, .plain) = node.content, let value = ScalarReading.bool(text) else {
            return wrong(key, "true or false", node)
        }
        return value
    }

    /// - Parameter orText: whether a number in quotes is one, too.
    package mutating func integer(
        _ key: String,
        in range: ClosedRange<Int> = Int.min...Int.max,
        orText: Bool = false
    ) -> Int? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let text, let style) = node.content, style == .plain || orText,
            let value = ScalarReading.integer(text)
        else { return wrong(key, "an integer", node) }
        return inRange(value, range, key, node)
    }

    package mutating func number(_ key: String, in range: ClosedRange<Double>) -> Double? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let text, .plain) = node.content, let value = ScalarReading.number(text) else {
            return wrong(key, "a number", node)
        }
        return inRange(value, range, key, node)
    }

    package mutating func duration(_ key: String, in range: ClosedRange<Duration>) -> Duration? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let text, _) = node.content, let value = ScalarReading.duration(text) else {
            return wrong(key, "a duration such as 50ms, 5s or 1m30s", node)
        }
        return inRange(value, range, key, node)
    }

    package mutating func quantity(_ key: String, in range: ClosedRange<Int> = 0...Int.max) -> Int? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let text, _) = node.content, let value = ScalarReading.quantity(text) else {
            return wrong(key, "a quantity such as 100, 1k or 10Gi", node)
        }
        return inRange(value, range, key, node)
    }

    package mutating func byteCount(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let node = node(key) else { return nil }
        guard case .scalar(let text, _) = node.content, let value = ScalarReading.byteCount(text) else {
            return wrong(key, "a number of bytes such as 65536, 64KiB or 1MiB", node)
        }
        return inRange(value, range, key, node)
    }

    /// The keys that are there and not null, in the order of the text.
    package var keys: [String] { order.filter { !$0.value.isNull }.map(\.key) }

    // MARK: Collections

    /// The elements of a list; none when it is absent. More than `limit` are an error.
    package mutating func list(_ key: String, limit: Int = .max) -> [YAMLNode] {
        guard let node = node(key) else { return [] }
        if let elements = node.elements {
            if elements.count <= limit { return elements }
            diagnostics.error(
                "\(noun) \(quoted(key)) has \(elements.count) elements; at most \(limit) are allowed",
                at: node.position
            )
            return Array(elements.prefix(limit))
        }
        let none: [YAMLNode]? = wrong(key, "a list", node)
        return none ?? []
    }

    package mutating func strings(_ key: String) -> [String] {
        list(key).compactMap { element in
            guard let text = element.text else {
                diagnostics.error("must be a text, not \(element.kind)", at: element.position)
                return nil
            }
            return text
        }
    }

    /// A mapping of texts to texts; empty when it is absent.
    package mutating func stringMap(_ key: String) -> [String: String] {
        guard let node = node(key) else { return [:] }
        guard let entries = node.entries else {
            let none: [String: String]? = wrong(key, "a mapping (key: value)", node)
            return none ?? [:]
        }
        var map: [String: String] = [:]
        for entry in entries {
            guard case .scalar(let text, _) = entry.value.content else {
                diagnostics.error("must be a text, not \(entry.value.kind)", at: entry.value.position)
                continue
            }
            map[entry.key] = text
        }
        return map
    }

    /// A mapping inside this one; nil when it is absent.
    package mutating func mapping(_ key: String) -> Fields? {
        guard let node = node(key) else { return nil }
        guard node.entries != nil else { return wrong(key, "a mapping (key: value)", node) }
        return Fields(node, diagnostics)
    }

    // MARK: Messages

    private func wrong<Value>(_ key: String, _ expected: String, _ node: YAMLNode) -> Value? {
        diagnostics.error("\(noun) \(quoted(key)) must be \(expected), not \(node.kind)", at: node.position)
        return nil
    }

    private func inRange<Value: Comparable>(
        _ value: Value,
        _ range: ClosedRange<Value>,
        _ key: String,
        _ node: YAMLNode
    ) -> Value? {
        if range.contains(value) { return value }
        let bound =
            value < range.lowerBound
            ? "at least \(Self.text(range.lowerBound))" : "at most \(Self.text(range.upperBound))"
        diagnostics.error("\(noun) \(quoted(key)) must be \(bound), not \(node.text ?? "")", at: node.position)
        return nil
    }

    private static func text(_ bound: some Comparable) -> String {
        switch bound {
        case let duration as Duration:
            let (seconds, attoseconds) = duration.components
            return attoseconds == 0 ? "\(seconds)s" : "\(Double(seconds) * 1e3 + Double(attoseconds) / 1e15)ms"
        case let number as Double where number == number.rounded() && abs(number) < 1e15:
            return "\(Int(number))"
        default:
            return "\(bound)"
        }
    }
}
