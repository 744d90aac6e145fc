import Bytes
import Pool
import Scheduling

/// A prompt of ten blocks, of which one of two endpoints holds six.
struct DeciderFixture {
    let pool = makePool(count: 2)
    let cache = ApproximatePrefixCache()
    let blocks = prompt(10, seed: 1)

    /// Endpoint 1 holds six of the prompt's ten blocks of 16 tokens.
    init() {
        cache.record(PromptBlocks(hashes: Array(blocks.prefix(6)), blockTokens: 16), pool.snapshot, index: 1)
    }

    /// Whether prefill runs for a prompt of 165 tokens whose decode endpoint is the one at `index`.
    func disaggregates(_ decider: any DisaggregationDecider, decode index: Int, tokens: Int = 165) throws
        -> Bool
    {
        let scheduler = Scheduler(
            profiles: ["decode", "prefill"].map { SchedulingProfile(name: $0, scorers: []) },
            handler: DisaggregationHandler(prefillDecider: decider),
            prefixCache: cache
        )
        var request = request(hashes: blocks)
        request.estimatedTokens = tokens
        let only = Candidates(snapshot: pool.snapshot, indexes: [index])
        var generator = SeededGenerator(seed: 1)
        return try scheduler.schedule(request, only, using: &generator).prefill != nil
    }
}
