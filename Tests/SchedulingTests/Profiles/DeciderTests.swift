import Bytes
import Pool
import Scheduling
import Testing

@Suite("prefix-based-pd-decider, always-disagg-pd-decider, always-disagg-multimodal-decider")
struct DeciderTests {
    private let pool = makePool(count: 2)
    private let cache = ApproximatePrefixCache()
    private let blocks = prompt(10, seed: 1)

    /// Endpoint 1 holds six of the prompt's ten blocks of 16 tokens.
    init() {
        cache.record(PromptBlocks(hashes: Array(blocks.prefix(6)), blockTokens: 16), pool.snapshot, index: 1)
    }

    /// Whether prefill runs for a prompt of 165 tokens whose decode endpoint is the one at `index`.
    private func disaggregates(_ decider: any DisaggregationDecider, decode index: Int, tokens: Int = 165) throws
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

    @Test("Disaggregates from nonCachedTokens on, counting what the decode endpoint does not hold")
    func uncached() throws {
        // 165 tokens, of which endpoint 1 holds 96.
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 69), decode: 1))
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 70), decode: 1) == false)
    }

    @Test("What nobody holds counts whole; a prompt shorter than the threshold is never disaggregated")
    func cold() throws {
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 165), decode: 0))
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 166), decode: 0) == false)
    }

    @Test("A prompt must also have promptTokens")
    func promptLength() throws {
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 16, promptTokens: 166), decode: 0) == false)
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 16, promptTokens: 165), decode: 0))
    }

    @Test("0 turns it off, and so does not knowing what the endpoint holds")
    func off() throws {
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 0), decode: 0) == false)
        var request = request()
        request.estimatedTokens = 1_000
        #expect(PrefixBasedDecider(nonCachedTokens: 1).disaggregates(request, decode: 0) == false)
        #expect(PrefixBasedDecider(nonCachedTokens: 1).disaggregates(request, decode: nil) == false)
    }

    @Test("always-disagg-pd-decider always does, but for requests without a prompt")
    func always() throws {
        #expect(try disaggregates(AlwaysDisaggregateDecider(), decode: 1, tokens: 0))
        var request = request()
        request.carriesPrompt = false
        #expect(AlwaysDisaggregateDecider().disaggregates(request, decode: 0) == false)
    }

    @Test("always-disagg-multimodal-decider does for prompts with images, videos or sounds")
    func multimodal() {
        var request = request()
        #expect(MultimodalDecider().disaggregates(request, decode: 0) == false)
        request.multimodalParts = 1
        #expect(MultimodalDecider().disaggregates(request, decode: nil))
    }
}
