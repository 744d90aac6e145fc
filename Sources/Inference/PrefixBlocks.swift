package import Bytes

/// The prompt as a chain of hashed blocks: two requests share a prefix of n blocks exactly when their first n hashes are equal.
///
/// The chain starts with the model and the cache salt, and each block's hash is the seed of the next one's, so a hash stands for everything
/// before it. The same bytes give the same hashes on every replica.
package enum PrefixBlocks {
    /// The hashes of the whole blocks of the prompt; a partial block at the end is dropped.
    ///
    /// - Parameters:
    ///   - model: The model that will answer, after any rewriting.
    ///   - blockBytes: The size of a block, at least 1; engines' blocks of tokens times 4 bytes.
    ///   - maxBlocks: The most blocks hashed, which bounds the work.
    package static func hashes(
        of request: InferenceRequest,
        in body: borrowing ByteBuffer,
        model: String,
        blockBytes: Int,
        maxBlocks: Int
    ) -> [UInt64] {
        hashes(
            of: request.promptRanges,
            in: body.bytes,
            model: model,
            cacheSalt: request.cacheSalt,
            blockBytes: blockBytes,
            maxBlocks: maxBlocks
        )
    }

    static func hashes(
        of ranges: [Range<Int>],
        in bytes: RawSpan,
        model: String,
        cacheSalt: String?,
        blockBytes: Int,
        maxBlocks: Int
    ) -> [UInt64] {
        let byteCount = ranges.reduce(0) { $0 + $1.count }
        guard blockBytes > 0, maxBlocks > 0, byteCount >= blockBytes else { return [] }
        let blockCount = min(byteCount / blockBytes, maxBlocks)
        var hashes: [UInt64] = []
        hashes.reserveCapacity(blockCount)

        var hash = XXH3.hash(model)
        // Hashed on its own, so that no pair of model and salt reads as another pair.
        if let cacheSalt { hash = XXH3.hash(cacheSalt, seed: hash) }
        // The bytes of a block that lies in more than one range.
        var pieces: [UInt8] = []
        for range in ranges {
            var offset = range.lowerBound
            if !pieces.isEmpty {
                let taken = min(blockBytes - pieces.count, range.count)
                append(bytes, offset..<offset + taken, to: &pieces)
                offset += taken
                guard pieces.count == blockBytes else { continue }
                hash = pieces.withRawSpan { XXH3.hash($0, seed: hash) }
                hashes.append(hash)
                pieces.removeAll(keepingCapacity: true)
            }
            while hashes.count < blockCount, range.upperBound - offset >= blockBytes {
                hash = XXH3.hash(bytes.extracting(offset..<offset + blockBytes), seed: hash)
                hashes.append(hash)
                offset += blockBytes
            }
            if hashes.count == blockCount { break }
            append(bytes, offset..<range.upperBound, to: &pieces)
        }
        return hashes
    }

    private static func append(_ bytes: RawSpan, _ range: Range<Int>, to pieces: inout [UInt8]) {
        for offset in range { pieces.append(bytes[offset]) }
    }
}
