internal import Bytes

/// Reads the token usage out of a gRPC response of vLLM's engine while it passes, however its messages are split over frames.
///
/// A message that lies within one frame is read in place; of one that does not, no more than `maxMessageBytes` are kept.
struct GRPCUsageReader: Sendable {
    private(set) var usage: TokenUsage?

    /// A longer message (the ids of very many tokens) is skipped.
    private static let maxMessageBytes = 1 << 20

    /// The beginning of a prefix or of a message whose rest has not come yet.
    private var pending: [UInt8] = []
    /// Bytes of a message that are to be passed over.
    private var toSkip = 0

    mutating func consume(_ chunk: RawSpan) {
        var offset = 0
        while offset < chunk.byteCount {
            if toSkip > 0 {
                let skipped = min(toSkip, chunk.byteCount - offset)
                toSkip -= skipped
                offset += skipped
            } else if pending.isEmpty {
                let taken = readMessage(chunk, at: offset)
                guard taken > 0 else { return keep(chunk, from: offset) }
                offset += taken
            } else {
                offset += complete(with: chunk, from: offset)
            }
        }
    }

    /// Reads the message at `start` and says how many bytes it has with its prefix; 0 when it is not all there.
    private mutating func readMessage(_ bytes: RawSpan, at start: Int) -> Int {
        guard let prefix = GRPCPrefix(bytes, at: start) else { return 0 }
        let length = GRPCPrefix.byteCount + prefix.messageBytes
        if prefix.isCompressed || prefix.messageBytes > Self.maxMessageBytes {
            toSkip = prefix.messageBytes
            return GRPCPrefix.byteCount
        }
        guard bytes.byteCount - start >= length else { return 0 }
        read(bytes, start + GRPCPrefix.byteCount..<start + length)
        return length
    }

    private mutating func keep(_ bytes: RawSpan, from start: Int) {
        bytes.extracting(start..<bytes.byteCount).withUnsafeBytes { pending.append(contentsOf: $0) }
    }

    /// Takes bytes until the pending message is whole, and says how many it took.
    private mutating func complete(with chunk: RawSpan, from start: Int) -> Int {
        var wanted = GRPCPrefix.byteCount
        if pending.count >= wanted {
            wanted += pending.withRawSpan { GRPCPrefix($0, at: 0)?.messageBytes ?? 0 }
        }
        let taken = min(wanted - pending.count, chunk.byteCount - start)
        chunk.extracting(start..<start + taken).withUnsafeBytes { pending.append(contentsOf: $0) }
        guard pending.count == wanted else { return taken }
        let bytes = pending
        // Only a prefix that announces more than nothing leaves the bytes pending.
        if bytes.withRawSpan({ readMessage($0, at: 0) }) > 0 { pending = [] }
        return taken
    }

    // MARK: Messages

    /// `GenerateResponse {chunk 1 | complete 2}` or `EmbedResponse {embedding 1, prompt_tokens 2}`, told apart by the second member's type.
    private mutating func read(_ bytes: RawSpan, _ range: Range<Int>) {
        var reader = ProtobufReader(range)
        var chunk: Range<Int>?
        while let field = try? reader.next(in: bytes) {
            switch (field.number, field.value) {
            case (1, .bytes(let range)): chunk = range
            // Prompt, completion and cached tokens stand behind the ids (1) and, in the last message, the reason to finish (2).
            case (2, .bytes(let complete)): return readCounts(bytes, complete, from: 3)
            case (2, .number(let promptTokens)):
                return take(TokenUsage(promptTokens: Int(UInt32(truncatingIfNeeded: promptTokens))))
            default: continue
            }
        }
        if let chunk { readCounts(bytes, chunk, from: 2) }
    }

    private mutating func readCounts(_ bytes: RawSpan, _ range: Range<Int>, from first: UInt64) {
        var counts = [0, 0, 0]
        var reader = ProtobufReader(range)
        while let field = try? reader.next(in: bytes) {
            guard case .number(let value) = field.value, field.number >= first, field.number < first + 3 else {
                continue
            }
            counts[Int(field.number - first)] = Int(UInt32(truncatingIfNeeded: value))
        }
        guard counts[0] > 0 || counts[1] > 0 else { return }
        take(TokenUsage(promptTokens: counts[0], completionTokens: counts[1], cachedTokens: counts[2]))
    }

    /// Counts are of the whole response so far, so the latest one counts.
    private mutating func take(_ found: TokenUsage) {
        usage = found
    }
}
