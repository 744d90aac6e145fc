import Bytes
import Pool
import Testing

@testable import Scheduling

@Suite("prefill-cost-scorer")
struct PrefillCostScorerTests {
    private let hashes = (1...100).map { UInt64($0) &* 0x9E37_79B9_7F4A_7C15 }

    /// A prompt of 1,600 tokens, of which the endpoint at `holder` is known to have `held` blocks.
    private func prompt(_ pool: Pool, held: Int = 0, at holder: Int = 0, model: String = "m") -> SchedulingRequest {
        let cache = ApproximatePrefixCache()
        var request = request(model: model, hashes: hashes)
        request.estimatedTokens = 1_600
        if held > 0 {
            let part = PromptBlocks(hashes: Array(hashes.prefix(held)), blockTokens: 16)
            cache.record(part, pool.snapshot, index: holder)
        }
        request.prefixMatches = cache.match(request.prefix, pool.everyone)
        return request
    }

    private func score(_ pool: Pool, _ request: SchedulingRequest) -> [Float] {
        scores(PrefillCostScorer(), pool.everyone, request)
    }

    @Test("The cheapest scores 1, one that costs `scaleTokens` more a half")
    func scale() {
        let pool = makePool(count: 2)
        // 64 of 100 blocks: 1,024 tokens less to compute.
        var weights = PrefillCostScorer.Weights()
        weights.scaleTokens = 1_024
        let request = prompt(pool, held: 64)
        #expect(isClose(scores(PrefillCostScorer(weights), pool.everyone, request), [1, 0.5]))
        #expect(isClose(score(pool, request), [1, 0.8]))
    }

    @Test("Idle endpoints that hold nothing score alike, whatever their number")
    func idle() {
        let pool = makePool(count: 3)
        #expect(score(pool, prompt(pool)) == [1, 1, 1])
        #expect(score(makePool(count: 1), prompt(makePool(count: 1))) == [1])
    }

    @Test("A prompt goes where it is cached until more is in flight there than it would cost elsewhere")
    func affinityAndLoad() {
        let pool = makePool(count: 2)
        let request = prompt(pool, held: 100)
        let endpoint = pool.snapshot.endpoints[0]
        #expect(score(pool, request)[0] == 1)
        let small = pool.reserve(endpoint, tokens: 1_000)
        #expect(score(pool, request)[0] == 1)
        let large = pool.reserve(endpoint, tokens: 1_000)
        #expect(score(pool, request)[1] == 1)
        small.release()
        large.release()
        #expect(score(pool, request)[0] == 1)
    }

    @Test("Tokens count until the answer begins, the request until it ends")
    func release() {
        let pool = makePool(count: 2)
        let request = prompt(pool)
        var reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 4_000)
        // 4,000 tokens and a request's 100.
        #expect(isClose(score(pool, request), [4_096 / 8_196, 1]))
        reservation.releaseTokens()
        #expect(isClose(score(pool, request), [4_096 / 4_196, 1]))
        reservation.release()
        #expect(score(pool, request) == [1, 1])
    }

    @Test("Where memory is full, computing costs nine times as much")
    func memory() {
        let pool = makePool([Page(usage: 1), Page(usage: 0)])
        // 1,600 × 9 against 1,600.
        #expect(isClose(score(pool, prompt(pool)), [4_096 / (4_096 + 12_800), 1]))
        #expect(score(pool, prompt(pool, held: 100)) == [1, 4_096 / (4_096 + 1_600)])
        // Half full is a quarter of that: three times as much.
        let half = makePool([Page(usage: 0.5), Page(usage: 0)])
        #expect(isClose(score(half, prompt(half)), [4_096 / (4_096 + 3_200), 1]))
    }

    @Test("What others have sent counts as requests")
    func foreign() {
        var weights = PrefillCostScorer.Weights()
        weights.homeWeight = 0
        let pool = makePool([Page(waiting: 2, running: 3), Page()])
        let request = prompt(pool)
        #expect(isClose(scores(PrefillCostScorer(weights), pool.everyone, request), [4_096 / 4_596, 1]))
    }

    @Test("Of equal work in flight, the longer ago it was given, the more of it is taken to be done: three quarters")
    func progress() {
        let clock = Lock(MonotonicTime(nanoseconds: 0))
        let pool = Pool(stalenessThreshold: .seconds(60), clock: { clock.withLock { $0 } })
        pool.replaceEndpoints(descriptions(2))
        publish([Page(), Page()], to: pool)
        func advance(_ milliseconds: Int) { clock.withLock { $0 = $0 + .milliseconds(milliseconds) } }
        let endpoints = pool.snapshot.endpoints
        // Both compute 10 tokens in a millisecond.
        for endpoint in endpoints {
            var reservation = pool.reserve(endpoint, tokens: 1_000)
            advance(100)
            reservation.releaseTokens()
        }
        let first = pool.reserve(endpoints[0], tokens: 1_600)
        advance(100)
        let second = pool.reserve(endpoints[1], tokens: 1_600)
        let candidates = pool.candidates(at: clock.withLock { $0 })
        #expect(isClose(scores(PrefillCostScorer(), candidates, prompt(pool)), [1, 4_096 / (4_096 + 750)]))
        first.release()
        second.release()
    }

    @Test(
        "An adapter goes where it runs, else where there is room; a model that no page calls an adapter goes anywhere"
    )
    func adapters() {
        let pool = makePool([
            Page(active: ["a"], maxActive: 2), Page(active: ["b"], maxActive: 2),
            Page(active: ["b", "c"], maxActive: 2),
        ])
        let adapter = score(pool, prompt(pool, model: "a"))
        #expect(adapter[0] == 1)
        #expect(adapter[1] > adapter[2])
        #expect(score(pool, prompt(pool, model: "base")) == [1, 1, 1])
    }

    @Test("An adapter is known after its last request has ended")
    func knownAdapter() {
        let scorer = PrefillCostScorer()
        let pool = makePool([Page(active: ["a"], maxActive: 1), Page(maxActive: 1)])
        _ = scores(scorer, pool.everyone, prompt(pool))
        publish([Page(active: ["b"], maxActive: 1), Page(maxActive: 1)], to: pool)
        let after = scores(scorer, pool.everyone, prompt(pool, model: "a"))
        #expect(after[1] == 1)
        #expect(after[0] < 1)
    }
}

@Suite("The home of a prompt")
struct PromptHomeTests {
    private let hashes = (1...10).map { UInt64($0) &* 0x9E37_79B9_7F4A_7C15 }

    private func home(_ pool: Pool, _ hashes: [UInt64], cache: ApproximatePrefixCache = ApproximatePrefixCache())
        -> PromptHome?
    {
        var request = request(hashes: hashes)
        request.estimatedTokens = hashes.count * 16
        request.prefixMatches = cache.match(request.prefix, pool.everyone)
        return PromptHome(request, pool.everyone)
    }

    @Test("Pickers that know nothing of each other agree on it, in whatever order they know the endpoints")
    func agreement() throws {
        let busy = Page(running: 1)
        let pool = makePool([busy, busy, busy])
        let other = Pool(stalenessThreshold: .seconds(2))
        other.replaceEndpoints(descriptions(3).reversed())
        publish([busy, busy, busy], to: other)
        var homes: Set<String> = []
        for number in 1...50 as ClosedRange<UInt64> {
            let hashes = [number &* 0xD6E8_FEB8_6659_FD93]
            let first = try #require(home(pool, hashes))
            let second = try #require(home(other, hashes))
            #expect(
                pool.everyone.endpoint(first.position).hostPort == other.everyone.endpoint(second.position).hostPort
            )
            homes.insert(pool.everyone.endpoint(first.position).hostPort)
        }
        #expect(homes.count == 3)
    }

    @Test("It goes by the first block that is known nowhere, so prompts that part there have homes of their own")
    func anchor() throws {
        let pool = makePool(Array(repeating: Page(running: 1), count: 8))
        let cache = ApproximatePrefixCache()
        let shared = Array(hashes.prefix(4))
        cache.record(PromptBlocks(hashes: shared, blockTokens: 16), pool.snapshot, index: 0)
        let homes = try (1...20 as ClosedRange<UInt64>).map { number in
            try #require(home(pool, shared + [number &* 0xD6E8_FEB8_6659_FD93], cache: cache)).position
        }
        #expect(Set(homes).count > 3)
    }

    @Test("It counts by the share of requests that others have sent: none without others, nor for what is known")
    func share() throws {
        let pool = makePool([Page(running: 1), Page()])
        let held = pool.reserve(pool.snapshot.endpoints[1], tokens: 0)
        // One request is another's, one is ours: half of 160 tokens.
        #expect(try #require(home(pool, hashes)).expectedTokens == 80)
        held.release()
        #expect(home(makePool(count: 2), hashes) == nil)
        let cache = ApproximatePrefixCache()
        cache.record(PromptBlocks(hashes: hashes, blockTokens: 16), pool.snapshot, index: 1)
        #expect(home(pool, hashes, cache: cache) == nil)
        #expect(home(pool, []) == nil)
    }
}
