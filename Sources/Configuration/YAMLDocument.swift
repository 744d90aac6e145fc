/// Reads one YAML document. A pure function over bytes, safe for whatever they are.
///
/// Understood: block and flow style, all scalar styles, comments, anchors and aliases (each alias is a copy; together at most
/// `aliasedNodeLimit` nodes). Refused: tags, directives, merge keys, keys that are not text, keys that occur twice, more than one
/// document, nesting deeper than `depthLimit`, more than `sizeLimit` bytes, invalid UTF-8.
package enum YAMLDocument {
    package static let sizeLimit = 1 << 20
    package static let depthLimit = 64
    package static let aliasedNodeLimit = 10_000

    /// The root of the document, or nil when the text is no YAML document that can be read; what is wrong goes to `diagnostics`.
    /// An empty text is a null scalar. Duplicate keys are reported, the first counts, and reading goes on.
    package static func parse(_ text: [UInt8], _ diagnostics: Diagnostics) -> YAMLNode? {
        guard text.count <= sizeLimit else {
            diagnostics.error("larger than \(sizeLimit) bytes", at: .start)
            return nil
        }
        // As Go's reader does.
        let text = text.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(text.dropFirst(3)) : text
        // libyaml compares each %TAG with all before it, which takes minutes for a file full of them.
        if let line = lineOfDirective(in: text) {
            diagnostics.error("directives (%) are not supported", at: SourcePosition(line: line, column: 1))
            return nil
        }
        var builder = YAMLBuilder(diagnostics: diagnostics)
        let failure = YAMLEvents.forEach(in: text) { event, position in
            builder.add(event, at: position)
        }
        if let failure {
            diagnostics.error(failure.message, at: failure.position)
            return nil
        }
        return builder.root
    }

    private static func lineOfDirective(in text: [UInt8]) -> Int? {
        var line = 1
        var atStart = true
        for byte in text {
            if atStart, byte == UInt8(ascii: "%") { return line }
            atStart = byte == UInt8(ascii: "\n")
            if atStart { line += 1 }
        }
        return nil
    }
}

/// Builds the tree from the events, without recursion.
struct YAMLBuilder {
    private struct Frame {
        let position: SourcePosition
        let anchor: String?
        let isMapping: Bool
        var elements: [YAMLNode] = []
        var entries: [YAMLNode.Entry] = []
        var key: (text: String, position: SourcePosition)?
        var keyLines: [String: Int] = [:]
        /// Nodes below and levels below, for the bounds on aliases.
        var nodes = 1
        var height = 0
    }

    private struct Anchored {
        let node: YAMLNode
        let nodes: Int
        let height: Int
    }

    private let diagnostics: Diagnostics
    private var stack: [Frame] = []
    private var anchors: [String: Anchored] = [:]
    private var aliasedNodes = 0
    private var documents = 0
    private var finished: YAMLNode?

    init(diagnostics: Diagnostics) {
        self.diagnostics = diagnostics
    }

    var root: YAMLNode? {
        documents == 0 ? YAMLNode(.scalar("", .plain), at: .start) : finished
    }

    /// Takes one event; false when reading should stop, for a reason that has been reported.
    mutating func add(_ event: YAMLEvent, at position: SourcePosition) -> Bool {
        switch event {
        case .documentStart:
            documents += 1
            return documents == 1 || stop("only one document is allowed", position)
        case .tagged:
            return stop("tags (!) are not supported", position)
        case .alias(let name):
            return alias(name, position)
        case .scalar(let text, let style, let anchor):
            return scalar(text, style, anchor, position)
        case .start(let isMapping, let anchor):
            if isKeyExpected { return stop("a key must be a text", position) }
            guard stack.count < YAMLDocument.depthLimit else {
                return stop("nested deeper than \(YAMLDocument.depthLimit) levels", position)
            }
            stack.append(Frame(position: position, anchor: anchor, isMapping: isMapping))
            return true
        case .end:
            guard let frame = stack.popLast() else { return false }
            let content: YAMLNode.Content = frame.isMapping ? .mapping(frame.entries) : .sequence(frame.elements)
            let value = Anchored(
                node: YAMLNode(content, at: frame.position),
                nodes: frame.nodes,
                height: frame.height + 1
            )
            if let anchor = frame.anchor { anchors[anchor] = value }
            place(value)
            return true
        }
    }

    private var isKeyExpected: Bool {
        guard let frame = stack.last else { return false }
        return frame.isMapping && frame.key == nil
    }

    private mutating func scalar(
        _ text: String,
        _ style: YAMLNode.ScalarStyle,
        _ anchor: String?,
        _ position: SourcePosition
    ) -> Bool {
        let value = Anchored(node: YAMLNode(.scalar(text, style), at: position), nodes: 1, height: 1)
        if let anchor { anchors[anchor] = value }
        guard isKeyExpected else {
            place(value)
            return true
        }
        if style == .plain, text == "<<" { return stop("merge keys (<<) are not supported", position) }
        stack[stack.count - 1].key = (text, position)
        return true
    }

    private mutating func alias(_ name: String, _ position: SourcePosition) -> Bool {
        // An anchor is known once its node has ended, so a node cannot contain itself.
        guard let target = anchors[name] else {
            return stop("the alias *\(name) names no anchor before it", position)
        }
        aliasedNodes += target.nodes
        guard aliasedNodes <= YAMLDocument.aliasedNodeLimit else {
            return stop("aliases stand for more than \(YAMLDocument.aliasedNodeLimit) values", position)
        }
        guard stack.count + target.height <= YAMLDocument.depthLimit else {
            return stop("nested deeper than \(YAMLDocument.depthLimit) levels", position)
        }
        if isKeyExpected {
            guard case .scalar(let text, let style) = target.node.content else {
                return stop("a key must be a text", position)
            }
            return scalar(text, style, nil, position)
        }
        place(target)
        return true
    }

    private mutating func place(_ value: Anchored) {
        guard !stack.isEmpty else {
            finished = value.node
            return
        }
        let top = stack.count - 1
        stack[top].nodes += value.nodes
        stack[top].height = max(stack[top].height, value.height)
        guard stack[top].isMapping else {
            stack[top].elements.append(value.node)
            return
        }
        guard let key = stack[top].key else { return }
        stack[top].key = nil
        if let line = stack[top].keyLines[key.text] {
            diagnostics.error("duplicate key \(quoted(key.text)), first on line \(line)", at: key.position)
            return
        }
        stack[top].keyLines[key.text] = key.position.line
        stack[top].entries.append(YAMLNode.Entry(key: key.text, keyPosition: key.position, value: value.node))
    }

    private mutating func stop(_ message: String, _ position: SourcePosition) -> Bool {
        diagnostics.error(message, at: position)
        finished = nil
        return false
    }
}
