internal import Bytes

/// Reads the token usage out of a response while it passes, however its bytes are split. What it keeps does not grow with the response.
package struct UsageReader: Sendable {
    package enum Format: Sendable {
        /// One JSON document.
        case json
        /// Server-sent events with a JSON document each.
        case eventStream
        /// Messages of vLLM's gRPC engine.
        case grpc
    }

    /// What was found so far.
    package var usage: TokenUsage? { format == .grpc ? messages.usage : found }
    /// Whether the event stream said `[DONE]`.
    package private(set) var sawDone = false

    private let format: Format
    private var found: TokenUsage?
    private var messages = GRPCUsageReader()
    private var document = UsageScanner()
    private var line = EventLine()

    package init(format: Format) {
        self.format = format
    }

    /// Reads the next bytes of the body.
    package mutating func consume(_ chunk: RawSpan) {
        switch format {
        case .json:
            if document.isUnread, readWhole(chunk) { return }
            document.consume(chunk)
            if document.isComplete { take(document.usage) }
        case .eventStream:
            consumeEvents(chunk)
        case .grpc:
            messages.consume(chunk)
        }
    }

    /// Most documents come in one piece, and are read faster as what they are.
    ///
    /// - Returns: false when it is none, or not surely the usage's place is its outermost object.
    private mutating func readWhole(_ chunk: RawSpan) -> Bool {
        guard chunk.byteCount <= Self.maxWholeBytes else { return false }
        do {
            let usage: JSONMember? = try Self.wholeReader.read(chunk) { found in
                found[1] == nil && found[2] == nil && found[0]?.occurrences == 1 ? found[0] : nil
            }
            guard let usage, usage.kind == .object else { return false }
            take(chunk.extracting(usage.valueRange))
            document.end()
            return true
        } catch {
            return false
        }
    }

    private static let wholeReader = JSONReader(names: ["usage", "response", "message"])
    /// A longer document is cheaper to follow than to parse.
    private static let maxWholeBytes = 64 << 10

    /// Ends the body: what its last, unfinished line or document told counts.
    package mutating func finish() {
        switch format {
        case .json:
            if !document.isComplete { take(document.usage) }
            document = UsageScanner()
        case .eventStream:
            endLine()
        case .grpc:
            break
        }
    }

    private mutating func consumeEvents(_ chunk: RawSpan) {
        guard chunk.byteCount > 0 else { return }
        if !line.isEmpty, chunk.starts(with: "data:") {
            if line.isComplete { endLine() } else { line.markAlternative() }
        }
        // Most chunks are whole events without a usage; they are not looked at any closer.
        let mayTell = ByteScan.offset(of: "usage", in: chunk) != nil || ByteScan.offset(of: "[DONE]", in: chunk) != nil
        var start = 0
        if !mayTell, line.isEmpty, let last = ByteScan.lastOffset(of: UInt8(ascii: "\n"), in: chunk) {
            start = last + 1
        }
        while start < chunk.byteCount {
            let end = chunk.firstOffset(of: UInt8(ascii: "\n"), from: start)
            let bytes = chunk.extracting(start..<(end ?? chunk.byteCount))
            // A whole line that does not tell anything needs no scan.
            if end == nil || !line.isEmpty || ByteScan.offset(of: "usage", in: bytes) != nil
                || ByteScan.offset(of: "[DONE]", in: bytes) != nil
            {
                line.consume(bytes)
            }
            guard let end else { return }
            endLine()
            start = end + 1
        }
    }

    private mutating func endLine() {
        guard !line.isEmpty else { return }
        if line.isDone { sawDone = true }
        take(line.usage)
        line = EventLine()
    }

    private mutating func take(_ object: [UInt8]?) {
        object?.withRawSpan { take($0) }
    }

    private mutating func take(_ object: RawSpan) {
        var merged = found ?? TokenUsage()
        if merged.merge(object: object) { found = merged }
    }
}

/// One line of an event stream, which may arrive in pieces. Only `data` lines matter.
private struct EventLine: Sendable {
    private var payload = Payload()
    /// The line as it reads when an earlier frame's end was also the end of a line; see `markAlternative`.
    private var alternative: Payload?
    private(set) var isEmpty = true

    mutating func consume(_ bytes: RawSpan) {
        guard bytes.byteCount > 0 else { return }
        isEmpty = false
        payload.consume(bytes)
        alternative?.consume(bytes)
    }

    /// Whether the line's document has been closed, so that nothing of the line can follow.
    var isComplete: Bool { payload.isComplete }

    /// A frame that begins with `data:` begins a new line, unless the bytes are the middle of a string that was cut just there. Which it was
    /// shows at the end of the line: the document that is whole is the one.
    mutating func markAlternative() {
        alternative = Payload()
    }

    var isDone: Bool { payload.isDone || alternative?.isDone == true }

    var usage: [UInt8]? {
        if payload.isComplete { return payload.usage }
        return alternative?.usage ?? payload.usage
    }
}

/// The bytes of a `data` field and what has been recognised of them.
private struct Payload: Sendable {
    private static let field = Array("data:".utf8)
    private static let done = Array("[DONE]".utf8)

    private enum State { case field(Int), space, done(Int), ended, document, ignored }
    private var state = State.field(0)
    private var scanner = UsageScanner()

    var usage: [UInt8]? { scanner.usage }

    var isDone: Bool { if case .ended = state { true } else { false } }

    var isComplete: Bool {
        switch state {
        case .document: scanner.isComplete
        case .ended, .ignored: true
        case .field, .space, .done: false
        }
    }

    mutating func consume(_ bytes: RawSpan) {
        var offset = 0
        while offset < bytes.byteCount {
            let byte = bytes[offset]
            switch state {
            case .field(let matched):
                guard byte == Self.field[matched] else {
                    state = .ignored
                    return
                }
                state = matched + 1 == Self.field.count ? .space : .field(matched + 1)
            case .space:
                if byte != UInt8(ascii: " ") {
                    state = byte == Self.done[0] ? .done(0) : .document
                    continue
                }
            case .done(let matched):
                guard byte == Self.done[matched] else {
                    state = .ignored
                    return
                }
                state = matched + 1 == Self.done.count ? .ended : .done(matched + 1)
            case .document:
                scanner.consume(bytes.extracting(offset..<bytes.byteCount))
                return
            case .ended, .ignored:
                return
            }
            offset += 1
        }
    }
}
