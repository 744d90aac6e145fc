package import Pool

/// `approx-prefix-cache-producer`: remembers which prompts went where, and takes it that they are still in that endpoint's cache.
package struct ApproximatePrefixCache: Sendable {
    package let settings: PrefixCacheSettings
    /// May outlive the configuration: pass the same index to the next one.
    package let index: PrefixIndex

    package init(settings: PrefixCacheSettings = PrefixCacheSettings(), index: PrefixIndex = PrefixIndex()) {
        self.settings = settings
        self.index = index
    }

    package func match(_ prefix: PromptBlocks, _ candidates: Candidates) -> PrefixMatches {
        PrefixMatches(
            totalBlocks: prefix.hashes.count,
            blockTokens: prefix.blockTokens,
            matchedBlocks: prefix.hashes.isEmpty ? [] : index.match(prefix.hashes, candidates)
        )
    }

    /// The endpoint at `index` of the snapshot got, or will get, the prompt.
    package func record(_ prefix: PromptBlocks, _ snapshot: Snapshot, index position: Int) {
        let capacity = settings.capacity(
            engineBlockTokens: snapshot.metrics[position].cacheBlockSize,
            engineBlocks: snapshot.metrics[position].cacheBlockCount,
            blockTokens: prefix.blockTokens
        )
        index.record(prefix.hashes, endpoint: snapshot.endpoints[position].number, capacity: capacity)
    }
}

/// How prompts are cut into blocks and how many blocks are remembered. Names and defaults are llm-d-router's.
package struct PrefixCacheSettings: Sendable, Equatable {
    /// What one token is taken to be in bytes of prompt.
    package static let bytesPerToken = 4
    /// Smaller blocks cost more than they bring, the reference's minimum. Where an engine's own are smaller (vLLM's hold 16 tokens, SGLang's
    /// pages one), as many of them count as one as make up this.
    package static let minimumBlockTokens = 64
    /// However large an engine says its cache is, no more than this many times the default `lruCapacityPerServer` blocks are remembered.
    package static let maximumCapacityFactor = 8

    /// Take block size and capacity from the engines' metrics where they tell them.
    package var autoTune = true
    package var blockSizeTokens = 16
    package var maxPrefixBlocksToMatch = 2_048
    /// When above 0 it, and not `maxPrefixBlocksToMatch`, limits what is matched.
    package var maxPrefixTokensToMatch = 131_072
    package var lruCapacityPerServer = 31_250
    /// Whether somebody wrote `lruCapacityPerServer`: then no more is remembered, however large an engine's cache is.
    package var isCapacityGiven = false

    package init() {}

    /// Tokens per block for every request while the snapshot is current: the size that most engines tell (of equals the smaller), so that
    /// one engine with other blocks does not change everybody's hashes, in multiples of at least 64; else `blockSizeTokens`, at least 64.
    package func blockTokens(in snapshot: Snapshot) -> Int {
        (autoTune ? Self.commonBlockSize(in: snapshot) : nil) ?? max(blockSizeTokens, Self.minimumBlockTokens)
    }

    /// How many blocks of a prompt are looked at.
    package func maximumBlocks(blockTokens: Int) -> Int {
        guard maxPrefixTokensToMatch > 0 else { return maxPrefixBlocksToMatch }
        return max(1, maxPrefixTokensToMatch / max(1, blockTokens))
    }

    /// Blocks to remember for an endpoint: as many as its cache holds when it tells (0 when not), else `lruCapacityPerServer`, which is also
    /// the most when it was given.
    package func capacity(engineBlockTokens: Int, engineBlocks: Int, blockTokens: Int) -> Int {
        guard autoTune, engineBlocks > 0, engineBlockTokens > 0, blockTokens > 0 else { return lruCapacityPerServer }
        let (tokens, overflow) = engineBlocks.multipliedReportingOverflow(by: engineBlockTokens)
        let limit = isCapacityGiven ? lruCapacityPerServer : lruCapacityPerServer * Self.maximumCapacityFactor
        return overflow ? limit : min(limit, max(1, tokens / blockTokens))
    }

    private static func commonBlockSize(in snapshot: Snapshot) -> Int? {
        // Nearly always all engines agree, and nothing has to be counted.
        if let only = snapshot.onlyCacheBlockSize { return tuned(only) }
        var votes: [(size: Int, count: Int)] = []
        for size in snapshot.metrics.compactMap({ tuned($0.cacheBlockSize) }) {
            if let known = votes.firstIndex(where: { $0.size == size }) {
                votes[known].count += 1
            } else {
                votes.append((size, 1))
            }
        }
        return votes.max { ($0.count, -$0.size) < ($1.count, -$1.size) }?.size
    }

    /// Whole blocks of an engine that count as one; nil when it does not tell, or nothing sensible.
    private static func tuned(_ size: Int) -> Int? {
        guard size > 0, size <= 1 << 20 else { return nil }
        return (max(size, minimumBlockTokens) + size - 1) / size * size
    }
}
