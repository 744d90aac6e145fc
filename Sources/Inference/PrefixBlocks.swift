package import Bytes

/// The prompt as a chain of hashed blocks: two requests share a prefix of n blocks exactly when their first n hashes are equal.
///
/// The chain starts with the model and the cache salt, and each block's hash is the seed of the next one's, so a hash stands for everything
/// before it. The same bytes give the same hashes on every replica.
package enum PrefixBlocks {
    /// The hashes of the whole blocks of the prompt; a partial block at the end is dropped.
    ///
    /// Text is cut by bytes, a prompt of token ids by ids, so that a block of either is as many tokens.
    ///
    /// - Parameters:
    ///   - model: The model that will answer, after any rewriting.
    ///   - blockTokens: The size of a block, at least 1; engines' blocks.
    ///   - bytesPerToken: What a token of text is taken to be.
    ///   - maxBlocks: The most blocks hashed, which bounds the work.
    package static func hashes(
        of request: InferenceRequest,
        in body: borrowing ByteBuffer,
        model: String,
        blockTokens: Int,
        bytesPerToken: Int,
        maxBlocks: Int
    ) -> [UInt64] {
        let start = start(model: model, cacheSalt: request.cacheSalt)
        guard let marks = TokenMarks(request.promptForm) else {
            return hashes(
                of: request.promptRanges,
                in: body.bytes,
                from: start,
                blockBytes: blockTokens * bytesPerToken,
                maxBlocks: maxBlocks
            )
        }
        return hashes(
            ofIDs: request.promptRanges,
            in: body.bytes,
            marks,
            from: start,
            blockTokens: blockTokens,
            maxBlocks: min(maxBlocks, request.estimatedPromptTokens / max(1, blockTokens))
        )
    }

    private static func start(model: String, cacheSalt: String?) -> UInt64 {
        let hash = XXH3.hash(model)
        // Hashed on its own, so that no pair of model and salt reads as another pair.
        return cacheSalt.map { XXH3.hash($0, seed: hash) } ?? hash
    }

    private static func hashes(
        of ranges: [Range<Int>],
        in bytes: RawSpan,
        from start: UInt64,
        blockBytes: Int,
        maxBlocks: Int
    ) -> [UInt64] {
        let byteCount = ranges.reduce(0) { $0 + $1.count }
        guard blockBytes > 0, maxBlocks > 0, byteCount >= blockBytes else { return [] }
        let blockCount = min(byteCount / blockBytes, maxBlocks)
        var hashes: [UInt64] = []
        hashes.reserveCapacity(blockCount)

        var hash = start
        // The bytes of a block that lies in more than one range.
        var pieces: [UInt8] = []
        for range in ranges {
            var offset = range.lowerBound
            if !pieces.isEmpty {
                let taken = min(blockBytes - pieces.count, range.count)
                append(bytes, offset..<offset + taken, to: &pieces)
                offset += taken
                guard pieces.count == blockBytes else { continue }
                hash = pieces.withRawSpan { Self.hash($0, after: hash) }
                hashes.append(hash)
                pieces.removeAll(keepingCapacity: true)
            }
            while hashes.count < blockCount, range.upperBound - offset >= blockBytes {
                hash = Self.hash(bytes.extracting(offset..<offset + blockBytes), after: hash)
                hashes.append(hash)
                offset += blockBytes
            }
            if hashes.count == blockCount { break }
            append(bytes, offset..<range.upperBound, to: &pieces)
        }
        return hashes
    }

    private static func hashes(
        ofIDs ranges: [Range<Int>],
        in bytes: RawSpan,
        _ marks: TokenMarks,
        from start: UInt64,
        blockTokens: Int,
        maxBlocks: Int
    ) -> [UInt64] {
        guard blockTokens > 0, maxBlocks > 0 else { return [] }
        var hashes: [UInt64] = []
        hashes.reserveCapacity(maxBlocks)
        var hash = start
        // The bytes of a block that lies in more than one range, and how many ids it lacks.
        var pieces: [UInt8] = []
        var missing = blockTokens
        for range in ranges {
            var rest = marks.ids(in: bytes, range)
            while !rest.isEmpty, hashes.count < maxBlocks {
                let (end, next, found) = marks.skip(missing, in: bytes, rest)
                let block = rest.lowerBound..<end
                rest = min(next, rest.upperBound)..<rest.upperBound
                missing -= found
                if missing > 0 || !pieces.isEmpty { append(bytes, block, to: &pieces) }
                guard missing <= 0 else {
                    pieces.append(contentsOf: marks.joint)
                    break
                }
                hash =
                    pieces.isEmpty
                    ? Self.hash(bytes.extracting(block), after: hash)
                    : pieces.withRawSpan { Self.hash($0, after: hash) }
                hashes.append(hash)
                pieces.removeAll(keepingCapacity: true)
                missing = blockTokens
            }
        }
        return hashes
    }

    /// What XXH3 hashes without setting up for a long input, which for a block of 256 bytes costs more than the block.
    private static let stride = 128

    /// The hash of a block that follows on another one.
    private static func hash(_ block: RawSpan, after before: UInt64) -> UInt64 {
        var hash = before
        var offset = 0
        while block.byteCount - offset > Self.stride {
            hash = XXH3.hash(block.extracting(offset..<offset + Self.stride), seed: hash)
            offset += Self.stride
        }
        return XXH3.hash(block.extracting(offset..<block.byteCount), seed: hash)
    }

    private static func append(_ bytes: RawSpan, _ range: Range<Int>, to pieces: inout [UInt8]) {
        for offset in range { pieces.append(bytes[offset]) }
    }
}
