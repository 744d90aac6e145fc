import Bytes
import Pool
import Scheduling
import Testing

@Suite("no-hit-lru-scorer")
struct NoHitLRUScorerTests {
    private let pool = makePool(count: 4)
    private let scorer = NoHitLRUScorer()
    private let cache = ApproximatePrefixCache()

    private func scheduler(weight: Float = 1) -> Scheduler {
        var policies = RequestPolicies()
        policies.observers = [scorer]
        return Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: [.init(name: "s", weight: weight, scorer: scorer)])],
            prefixCache: cache,
            policies: policies
        )
    }

    @Test("Endpoints that never got a cold prompt come first: 1 − i / (N − 1)")
    func neverUsed() {
        #expect(isClose(scores(scorer, pool.everyone), [1, 2.0 / 3, 1.0 / 3, 0]))
    }

    @Test("Cold prompts go round, each to the endpoint whose latest was longest ago")
    func rounds() throws {
        let scheduler = scheduler()
        let picks = try (0..<8).map { index in
            try decide(scheduler, pool.everyone, request(hashes: prompt(3, seed: UInt64(index)))).endpoint.identity.name
        }
        #expect(picks == ["e0", "e1", "e2", "e3", "e0", "e1", "e2", "e3"])
        // All used: the oldest is best, and nobody is below 0.
        #expect(isClose(scores(scorer, pool.everyone), [1, 2.0 / 3, 1.0 / 3, 0]))
    }

    @Test("The never used go before the used, whose rank begins behind them")
    func mixed() throws {
        let scheduler = scheduler()
        for index in [2, 0] {
            let only = Candidates(snapshot: pool.snapshot, indexes: [index])
            try decide(scheduler, only, request(hashes: prompt(3, seed: UInt64(index))))
        }
        #expect(isClose(scores(scorer, pool.everyone), [0, 1, 1.0 / 3, 2.0 / 3]))
    }

    @Test("A prompt that somebody holds a block of scores 0.5 everywhere and changes no order")
    func warm() throws {
        let blocks = prompt(4, seed: 9)
        cache.record(PromptBlocks(hashes: [blocks[0]], blockTokens: 16), pool.snapshot, index: 3)
        let result = try decide(scheduler(), pool.everyone, request(hashes: blocks))
        #expect(result.primary.scores == [0.5, 0.5, 0.5, 0.5])
        #expect(isClose(scores(scorer, pool.everyone), [1, 2.0 / 3, 1.0 / 3, 0]))
    }

    @Test("A single endpoint scores 1, used or not; so does everybody's first without a prefix cache")
    func single() throws {
        let one = makePool(count: 1)
        #expect(scores(scorer, one.everyone) == [1])
        try decide(scheduler(), one.everyone, request(hashes: prompt(1, seed: 1)))
        #expect(scores(scorer, one.everyone) == [1])
    }

    @Test("No more endpoints are remembered than lruSize")
    func bounded() throws {
        let small = NoHitLRUScorer(lruSize: 2)
        var policies = RequestPolicies()
        policies.observers = [small]
        let scheduler = Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: [.init(name: "s", weight: 1, scorer: small)])],
            policies: policies
        )
        for _ in 0..<3 { try decide(scheduler, pool.everyone, request()) }
        // e0 has been forgotten: it counts as never used, like e3.
        #expect(isClose(scores(small, pool.everyone), [1, 1.0 / 3, 0, 2.0 / 3]))
    }

    @Test("A new configuration goes on with the order of the earlier one, as far as it remembers")
    func takenOver() throws {
        let scheduler = scheduler()
        for index in 0..<3 {
            try decide(scheduler, pool.everyone, request(hashes: prompt(3, seed: UInt64(index))))
        }
        let next = NoHitLRUScorer(lruSize: 2)
        next.takeOver(from: scorer)
        #expect(isClose(scores(next, pool.everyone), [1, 1.0 / 3, 0, 2.0 / 3]))
    }

    @Test("A request without a prompt changes no order")
    func withoutPrompt() throws {
        var request = request()
        request.carriesPrompt = false
        try decide(scheduler(), pool.everyone, request)
        #expect(isClose(scores(scorer, pool.everyone), [1, 2.0 / 3, 1.0 / 3, 0]))
    }
}
