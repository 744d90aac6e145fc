private import Bytes

/// Which blocks requests hold.
extension Engine {
    /// Takes the blocks for what the request has until now and tells how many of its tokens were cached; nil when there is no room.
    mutating func takeBlocks(_ sequence: inout EngineSequence) -> Int? {
        let size = configuration.blockSize
        extendHashes(&sequence)
        let full = sequence.length / size
        let rest = sequence.length % size > 0 ? 1 : 0
        let hashes = sequence.hashes.prefix(full)
        guard cache.cost(ofAll: hashes, unfinished: rest) <= cache.available else { return nil }
        // The last token is always computed: its result is what the first new token comes from.
        let reusable = max(sequence.length - 1, 0) / size
        let cached = configuration.cachesPrefixes ? cache.countOfPrefix(hashes.prefix(reusable)) : 0
        for hash in hashes { cache.use(hash) }
        sequence.heldBlocks = Array(hashes)
        if rest > 0 {
            cache.useUnfinished()
            sequence.holdsUnfinished = true
        }
        return cached * size
    }

    /// Makes sure that the next token has a place, if need be by preempting the requests that were admitted last.
    ///
    /// - Returns: false when this is itself the one to give way.
    mutating func takeBlockForNextToken(_ number: Int, _ sequence: inout EngineSequence) -> Bool {
        if sequence.holdsUnfinished { return true }
        while cache.available < 1 {
            let victim = sequences.filter { $0.value.order > sequence.order && $0.value.holdsBlocks }
                .max { $0.value.order < $1.value.order }
            guard let victim, let taken = sequences.removeValue(forKey: victim.key) else { return false }
            preempt(victim.key, taken)
        }
        cache.useUnfinished()
        sequence.holdsUnfinished = true
        return true
    }

    /// A block that has become full is shared from now on.
    mutating func completeBlock(_ sequence: inout EngineSequence) {
        guard sequence.length % configuration.blockSize == 0, sequence.holdsUnfinished else { return }
        extendHashes(&sequence)
        cache.releaseUnfinished()
        sequence.holdsUnfinished = false
        guard let hash = sequence.hashes.last else { return }
        cache.use(hash)
        sequence.heldBlocks.append(hash)
    }

    mutating func giveUpBlocks(_ sequence: inout EngineSequence) {
        // The end of the prefix is given up first: it is the least likely to be asked for again.
        for hash in sequence.heldBlocks.reversed() { cache.release(hash) }
        sequence.heldBlocks = []
        if sequence.holdsUnfinished { cache.releaseUnfinished() }
        sequence.holdsUnfinished = false
        if !configuration.cachesPrefixes { cache.removeIdle() }
    }

    mutating func releaseKept(_ number: Int) {
        guard var sequence = kept.removeValue(forKey: number) else { return }
        giveUpBlocks(&sequence)
    }

    /// The names of the full blocks of a request's prompt, the same in every engine with blocks of this size.
    package func promptBlocks(of request: EngineRequest) -> [UInt64] {
        var sequence = EngineSequence(
            request: request,
            record: EngineRequestRecord(
                arrived: MonotonicTime(nanoseconds: 0),
                ended: MonotonicTime(nanoseconds: 0),
                promptTokens: request.promptTokens.count,
                cachedTokens: 0,
                generatedTokens: 0,
                preemptions: 0
            )
        )
        extendHashes(&sequence)
        return sequence.hashes
    }

    /// How many of the first of these blocks are in memory.
    package func cachedPrefix(of blocks: [UInt64]) -> Int {
        configuration.cachesPrefixes ? cache.countOfPrefix(blocks) : 0
    }

    private func extendHashes(_ sequence: inout EngineSequence) {
        let size = configuration.blockSize
        while (sequence.hashes.count + 1) * size <= sequence.length {
            let start = sequence.hashes.count * size
            var hash = sequence.hashes.last ?? seedHash(sequence.request)
            for index in start..<start + size {
                hash = (hash ^ UInt64(sequence.token(at: index))) &* 0x9E37_79B9_7F4A_7C15
                hash ^= hash >> 29
            }
            sequence.hashes.append(hash)
        }
    }

    /// Where the chain of a request's blocks begins: adapters and salts do not share.
    private func seedHash(_ request: EngineRequest) -> UInt64 {
        guard request.adapter != nil || request.cacheSalt != nil else { return 0x243F_6A88_85A3_08D3 }
        return XXH3.hash(request.cacheSalt ?? "", seed: XXH3.hash(request.adapter ?? "", seed: 1))
    }
}
