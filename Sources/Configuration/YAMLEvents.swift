private import CYAML

/// What libyaml finds, one after the other.
enum YAMLEvent {
    case documentStart
    case scalar(String, YAMLNode.ScalarStyle, anchor: String?)
    case start(isMapping: Bool, anchor: String?)
    case end
    case alias(String)
    /// A node with an explicit tag.
    case tagged
}

/// The only user of libyaml.
enum YAMLEvents {
    struct Failure {
        let message: String
        let position: SourcePosition
    }

    /// Calls `body` with each event until it returns false. Returns what libyaml cannot read.
    static func forEach(in text: [UInt8], _ body: (YAMLEvent, SourcePosition) -> Bool) -> Failure? {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else {
            return Failure(message: "out of memory", position: .start)
        }
        defer { yaml_parser_delete(&parser) }
        // Without this a byte-order mark would switch the reader to UTF-16.
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
        return text.withUnsafeBufferPointer { bytes in
            yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
            while true {
                var event = yaml_event_t()
                guard yaml_parser_parse(&parser, &event) == 1 else { return failure(of: parser, in: bytes) }
                defer { yaml_event_delete(&event) }
                if event.type == YAML_STREAM_END_EVENT { return nil }
                guard let known = translated(event) else { continue }
                if !body(known, position(event.start_mark)) { return nil }
            }
        }
    }

    private static func translated(_ event: yaml_event_t) -> YAMLEvent? {
        switch event.type {
        case YAML_DOCUMENT_START_EVENT:
            return .documentStart
        case YAML_ALIAS_EVENT:
            return .alias(string(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            guard scalar.tag == nil else { return .tagged }
            let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            let style: YAMLNode.ScalarStyle = scalar.style == YAML_PLAIN_SCALAR_STYLE ? .plain : .quoted
            return .scalar(text, style, anchor: string(scalar.anchor))
        case YAML_SEQUENCE_START_EVENT:
            let sequence = event.data.sequence_start
            return sequence.tag == nil ? .start(isMapping: false, anchor: string(sequence.anchor)) : .tagged
        case YAML_MAPPING_START_EVENT:
            let mapping = event.data.mapping_start
            return mapping.tag == nil ? .start(isMapping: true, anchor: string(mapping.anchor)) : .tagged
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
            return .end
        default:
            return nil
        }
    }

    private static func string(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        text.map { String(cString: $0) }
    }

    private static func position(_ mark: yaml_mark_t) -> SourcePosition {
        SourcePosition(line: mark.line + 1, column: mark.column + 1)
    }

    private static func failure(of parser: yaml_parser_t, in bytes: UnsafeBufferPointer<UInt8>) -> Failure {
        let problem = parser.problem.map { String(cString: $0) } ?? "unreadable"
        if parser.error == YAML_READER_ERROR {
            return Failure(
                message: "not a UTF-8 text: \(problem)",
                position: position(of: parser.problem_offset, in: bytes)
            )
        }
        let context = parser.context.map { " \(String(cString: $0))" } ?? ""
        return Failure(message: "not valid YAML: \(problem)\(context)", position: position(parser.problem_mark))
    }

    /// Where byte `offset` stands.
    private static func position(of offset: Int, in bytes: UnsafeBufferPointer<UInt8>) -> SourcePosition {
        var line = 1
        var column = 1
        for byte in bytes.prefix(offset) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return SourcePosition(line: line, column: column)
    }
}
