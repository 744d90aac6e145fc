package import Bytes

/// Gives a response's usage the count of cached tokens that the prefill endpoint reported: the decode endpoint, whose blocks came from there,
/// counts none of them.
///
/// `prompt_tokens_details.cached_tokens` is set, and made where the usage has none; in the Responses API it is
/// `input_tokens_details.cached_tokens`, where it is there. A usage of the Messages API stays as it is: it counts cached tokens apart from the
/// others. Every other byte passes as it came. A usage object is held back until it is whole, at most 8 KiB of it; a longer one passes as it is.
package struct CachedTokensRewriter: ResponseEditor {
    package enum Format: Sendable {
        /// One JSON document.
        case json
        /// Server-sent events with a JSON document each.
        case eventStream
    }

    private enum LineState { case field(Int), space, document, ignored }

    private static let maxHeldBytes = 8192
    private static let field = Array("data:".utf8)

    private let format: Format
    private let value: [UInt8]
    private var scanner = UsageScanner()
    private var line = LineState.field(0)
    /// The start of a usage object whose end has not come.
    private var held: [UInt8] = []
    /// Whether the present usage object passes as it is.
    private var givesUp = false

    /// - Parameter cachedTokens: what the prefill endpoint reported; 0 when it did not.
    package init(cachedTokens: Int, format: Format) {
        value = Array("\(cachedTokens)".utf8)
        self.format = format
    }

    package mutating func process(_ chunk: RawSpan, isLast: Bool) -> ByteBuffer? {
        var output = Output()
        switch format {
        case .json: consume(chunk, 0..<chunk.byteCount, &output)
        case .eventStream: consumeLines(chunk, &output)
        }
        if isLast {
            release(&output)
        } else if scanner.isInUsage, !givesUp {
            hold(chunk, &output)
        }
        return output.finish(chunk)
    }

    // MARK: Lines

    private mutating func consumeLines(_ chunk: RawSpan, _ output: inout Output) {
        var start = 0
        // Most chunks are whole events without a usage; they are not looked at any closer.
        if isAtLineStart, ByteScan.offset(of: "usage", in: chunk) == nil,
            let last = ByteScan.lastOffset(of: UInt8(ascii: "\n"), in: chunk)
        {
            start = last + 1
        }
        while start < chunk.byteCount {
            let end = chunk.firstOffset(of: UInt8(ascii: "\n"), from: start)
            let bytes = start..<(end ?? chunk.byteCount)
            if end == nil || !isAtLineStart || ByteScan.offset(of: "usage", in: chunk.extracting(bytes)) != nil {
                consumeLine(chunk, bytes, &output)
            }
            guard let end else { return }
            endLine(&output)
            start = end + 1
        }
    }

    private var isAtLineStart: Bool {
        if case .field(0) = line { true } else { false }
    }

    private mutating func consumeLine(_ chunk: RawSpan, _ range: Range<Int>, _ output: inout Output) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            switch line {
            case .field(let matched):
                guard chunk[offset] == Self.field[matched] else {
                    line = .ignored
                    return
                }
                line = matched + 1 == Self.field.count ? .space : .field(matched + 1)
                offset += 1
            case .space:
                if chunk[offset] == UInt8(ascii: " ") { offset += 1 } else { line = .document }
            case .document:
                consume(chunk, offset..<range.upperBound, &output)
                return
            case .ignored:
                return
            }
        }
    }

    private mutating func endLine(_ output: inout Output) {
        release(&output)
        scanner = UsageScanner()
        givesUp = false
        line = .field(0)
    }

    // MARK: Documents

    private mutating func consume(_ chunk: RawSpan, _ range: Range<Int>, _ output: inout Output) {
        let bytes = chunk.extracting(0..<range.upperBound)
        var offset = range.lowerBound
        while offset < range.upperBound, !scanner.isComplete {
            let wasInUsage = scanner.isInUsage
            offset = scanner.advance(bytes, from: offset)
            switch (wasInUsage, scanner.isInUsage) {
            case (false, true):
                output.copy(chunk, upTo: offset - 1)
                givesUp = false
            case (true, false):
                if !givesUp { endUsage(chunk, at: offset, &output) }
            default:
                break
            }
        }
    }

    private mutating func endUsage(_ chunk: RawSpan, at end: Int, _ output: inout Output) {
        let rest = chunk.extracting(output.copied..<end)
        let object = held + rest.copied()
        let isHeld = !held.isEmpty
        held = []
        let rewritten = object.count <= Self.maxHeldBytes ? rewritten(object) : nil
        if rewritten == nil, !isHeld { return }
        output.put(rewritten ?? object)
        output.copied = end
    }

    private mutating func hold(_ chunk: RawSpan, _ output: inout Output) {
        let rest = chunk.extracting(output.copied..<chunk.byteCount)
        if held.count + rest.byteCount > Self.maxHeldBytes {
            givesUp = true
            release(&output)
            return
        }
        held += rest.copied()
        output.hasChanged = output.hasChanged || rest.byteCount > 0
        output.copied = chunk.byteCount
    }

    private mutating func release(_ output: inout Output) {
        if !held.isEmpty { output.put(held) }
        held = []
    }

    // MARK: The object

    private static let reader = JSONReader(names: ["prompt_tokens_details", "input_tokens", "input_tokens_details"])

    /// The usage with the count; nil when it stays.
    private func rewritten(_ object: [UInt8]) -> [UInt8]? {
        object.withRawSpan { bytes in
            let found = try? Self.reader.read(bytes) { found in (0..<3).map { found[$0] != nil } }
            guard let found else { return nil }
            let name: String
            if found[0] || !found[1] {
                name = "prompt_tokens_details"
            } else if found[2] {
                name = "input_tokens_details"
            } else {
                return nil
            }
            let count = BodyEdits.Edit(name: "cached_tokens", change: .value(value, onlyWherePresent: false))
            var resolver = EditResolver(bytes)
            resolver.resolve([BodyEdits.Edit(name: name, change: .members([count]))])
            var output: [UInt8] = []
            var offset = 0
            for splice in resolver.ordered(with: []) {
                output += object[offset..<splice.range.lowerBound]
                output += splice.replacement
                offset = splice.range.upperBound
            }
            output += object[offset...]
            return output == object ? nil : output
        }
    }
}

/// What goes out in place of a chunk, made only when it is not the chunk itself.
private struct Output: ~Copyable {
    private var buffer = ByteBuffer()
    /// How much of the chunk is done with.
    var copied = 0
    var hasChanged = false

    /// Notes that the chunk's bytes before `offset` go out as they are.
    mutating func copy(_ chunk: RawSpan, upTo offset: Int) {
        guard offset > copied else { return }
        buffer.append(chunk.extracting(copied..<offset))
        copied = offset
    }

    mutating func put(_ bytes: [UInt8]) {
        buffer.append(bytes)
        hasChanged = true
    }

    consuming func finish(_ chunk: RawSpan) -> ByteBuffer? {
        guard hasChanged else { return nil }
        var buffer = buffer
        buffer.append(chunk.extracting(copied..<chunk.byteCount))
        return buffer
    }
}
