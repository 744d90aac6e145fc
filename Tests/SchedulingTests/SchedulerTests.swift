import Bytes
import Pool
import Synchronization
import Testing

@testable import Scheduling

private struct Constant: Scorer {
    let value: Float

    func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        for position in scores.indices { scores[position] = value }
    }
}

private struct KeepNamed: Filter {
    let names: Set<String>

    func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        candidates.filtered { names.contains(candidates.endpoint($0).identity.name) }
    }
}

/// Runs the profiles one after the other; the last one's pick is the destination.
private struct OneByOne: ProfileHandler {
    func next(_ cycle: SchedulingCycle) -> [Int] { cycle.ran.count < cycle.profiles.count ? [cycle.ran.count] : [0] }

    func route(_ cycle: SchedulingCycle) throws(SchedulingError) -> Route { Route(primary: cycle.profiles.count - 1) }
}

private let everyScorer: [SchedulingProfile.WeightedScorer] = [
    .init(name: "queue", weight: 2, scorer: QueueScorer()),
    .init(name: "kv", weight: 2, scorer: KVCacheUtilizationScorer()),
    .init(name: "prefix", weight: 3, scorer: PrefixCacheScorer()),
    .init(name: "running", weight: 1, scorer: RunningRequestsSizeScorer()),
    .init(name: "lora", weight: 1, scorer: LoRAAffinityScorer()),
    .init(name: "tokens", weight: 0.5, scorer: TokenLoadScorer(queueThresholdTokens: 1_000)),
    .init(name: "load", weight: 1, scorer: LoadAwareScorer(threshold: 10)),
    .init(name: "active", weight: 1, scorer: ActiveRequestScorer(maxBusyScore: 0.5)),
    .init(name: "cold", weight: 1, scorer: NoHitLRUScorer()),
    .init(name: "length", weight: 1, scorer: ContextLengthAware()),
    .init(name: "blocks", weight: 1, scorer: EndpointAttributeScorer(attribute: .cacheNumBlocks, lowerIsBetter: true)),
    .init(name: "session", weight: 1, scorer: SessionAffinityScorer(.token(SessionToken()))),
]

private func randomPages(_ count: Int, _ generator: inout SeededGenerator) -> [Page] {
    (0..<count).map { _ in
        Page(
            waiting: Int.random(in: 0...20, using: &generator),
            running: Int.random(in: 0...100, using: &generator),
            usage: Double.random(in: -0.1...1.2, using: &generator),
            active: Bool.random(using: &generator) ? ["m"] : ["x"],
            waitingModels: Bool.random(using: &generator) ? ["m"] : [],
            maxActive: Int.random(in: 0...3, using: &generator),
            blockSize: 16,
            blockCount: Int.random(in: 0...1_000, using: &generator)
        )
    }
}

@Suite("Scheduling")
struct SchedulerTests {
    @Test("The total is the weighted sum of the clamped scores, and the highest is picked")
    func total() throws {
        var generator = SeededGenerator(seed: 1)
        let pool = makePool([Page(waiting: 4, usage: 0.25), Page(waiting: 0, usage: 0.75), Page(waiting: 2, usage: 0)])
        let scheduler = Scheduler(
            profiles: [SchedulingProfile(name: "default", scorers: Array(everyScorer.prefix(2)))]
        )
        let result = try scheduler.schedule(request(), pool.everyone, using: &generator)
        #expect(result.endpoint.identity.name == "e2")
        #expect(result.primary.picked == [2])
        #expect(isClose(result.primary.totals, [1.5, 2.5, 3]))
        #expect(isClose(result.primary.scores, [0, 1, 0.5, 0.75, 0.25, 1]))
        #expect(result.primary.score(1, at: 1) == 0.25)
        #expect(result.prefixMatches == nil)
    }

    @Test("Scores outside 0...1 are clamped, NaN is 0")
    func clamped() throws {
        var generator = SeededGenerator(seed: 1)
        let values: [Float] = [-5, 0.5, 7, .nan, .infinity, -.infinity]
        let profile = SchedulingProfile(
            name: "p",
            scorers: values.map { .init(name: "\($0)", weight: 1, scorer: Constant(value: $0)) }
        )
        let result = try #require(profile.run(request(), makePool(count: 1).everyone, using: &generator))
        #expect(result.scores == [0, 0.5, 1, 0, 1, 0])
        #expect(result.totals == [2.5])
    }

    @Test("Without candidates, and when the filters leave none, the error is the reference's")
    func nobody() {
        var generator = SeededGenerator(seed: 1)
        let filters = [SchedulingProfile.NamedFilter(name: "f", filter: KeepNamed(names: ["e9"]))]
        let scheduler = Scheduler(profiles: [SchedulingProfile(name: "p", filters: filters, scorers: everyScorer)])
        for count in [0, 3] {
            let error = #expect(throws: SchedulingError.self) {
                try scheduler.schedule(request(), makePool(count: count).everyone, using: &generator)
            }
            #expect(error?.code == .noEndpoints)
            #expect(error?.message == "no endpoints available for the given request")
        }
    }

    @Test("Filters run in order and positions are those of whom they leave")
    func filters() throws {
        var generator = SeededGenerator(seed: 1)
        let filters = [["e1", "e2", "e3"], ["e0", "e2", "e3"]].map {
            SchedulingProfile.NamedFilter(name: "f", filter: KeepNamed(names: Set($0)))
        }
        let pool = makePool([Page(waiting: 0), Page(waiting: 0), Page(waiting: 5), Page(waiting: 1)])
        let profile = SchedulingProfile(name: "p", filters: filters, scorers: Array(everyScorer.prefix(1)))
        let result = try #require(profile.run(request(), pool.everyone, using: &generator))
        #expect(result.candidates.count == 2)
        #expect(result.endpoint.identity.name == "e3")
        #expect(result.picked == [1])
    }

    @Test("Where the request has a clock, the times of filters, scorers and picker are told in that order")
    func times() throws {
        var generator = SeededGenerator(seed: 1)
        let ticks = Ticks()
        let profile = SchedulingProfile(
            name: "p",
            filters: [.init(name: "f", filter: KeepNamed(names: ["e0"]))],
            scorers: Array(everyScorer.prefix(2))
        )
        var timed = request()
        let pool = makePool(count: 2)
        #expect(try #require(profile.run(timed, pool.everyone, using: &generator)).pluginTimes == [])
        // 0, 1, 3, 6, 10: each lap is longer than the one before.
        timed.clock = {
            let tick = ticks.next()
            return MonotonicTime(nanoseconds: tick * (tick + 1) / 2)
        }
        #expect(try #require(profile.run(timed, pool.everyone, using: &generator)).pluginTimes == [1, 2, 3, 4])
    }

    @Test("A handler may run several profiles; each runs once, and all that found an endpoint are in the result")
    func severalProfiles() throws {
        var generator = SeededGenerator(seed: 1)
        let only = { (name: String) in
            SchedulingProfile(
                name: name,
                filters: [SchedulingProfile.NamedFilter(name: "f", filter: KeepNamed(names: [name]))],
                scorers: everyScorer
            )
        }
        let scheduler = Scheduler(profiles: [only("e2"), only("e9"), only("e0")], handler: OneByOne())
        let result = try scheduler.schedule(request(), makePool(count: 3).everyone, using: &generator)
        #expect(result.results.map(\.profile.name) == ["e2", "e0"])
        #expect(result.endpoint.identity.name == "e0")
    }

    @Test("An endpoint that got a prompt is preferred for the next one with the same beginning")
    func prefixes() throws {
        var generator = SeededGenerator(seed: 3)
        let pool = makePool(count: 8)
        let scheduler = Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: everyScorer)],
            prefixCache: ApproximatePrefixCache()
        )
        let blocks = prompt(10, seed: 1)
        let first = try scheduler.schedule(request(hashes: blocks), pool.everyone, using: &generator)
        #expect(first.predictedBlocks == (0, 10))
        scheduler.record(request(hashes: blocks), first)
        let longer = request(hashes: blocks + prompt(10, seed: 2))
        for _ in 0..<20 {
            let next = try scheduler.schedule(longer, pool.everyone, using: &generator)
            #expect(next.endpoint === first.endpoint)
            #expect(next.predictedBlocks == (10, 20))
        }
    }

    @Test("Scores stay in 0...1 and totals in 0...Σ weights, whatever the pages say")
    func bounds() throws {
        var generator = SeededGenerator(seed: 7)
        let cache = ApproximatePrefixCache()
        let scheduler = Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: everyScorer)],
            prefixCache: cache
        )
        let sum = everyScorer.reduce(0) { $0 + $1.weight }
        for round in 0..<60 {
            let pool = makePool(randomPages(Int.random(in: 1...12, using: &generator), &generator))
            let request = request(hashes: prompt(Int.random(in: 0...6, using: &generator), seed: UInt64(round % 3)))
            let result = try scheduler.schedule(request, pool.everyone, using: &generator)
            #expect(result.primary.scores.allSatisfy { (0...1).contains($0) })
            #expect(result.primary.totals.allSatisfy { (0...sum + 1e-4).contains($0) })
            scheduler.record(request, result)
        }
    }

    @Test("The order of the endpoints changes nobody's score, and the pick only among equals")
    func permutation() throws {
        var generator = SeededGenerator(seed: 11)
        for round in 0..<60 {
            let pool = makePool(randomPages(Int.random(in: 2...12, using: &generator), &generator))
            let cache = ApproximatePrefixCache()
            let blocks = prompt(20, seed: UInt64(round))
            for index in 0..<pool.snapshot.count where Bool.random(using: &generator) {
                let held = PromptBlocks(
                    hashes: Array(blocks.prefix(Int.random(in: 1...20, using: &generator))),
                    blockTokens: 16
                )
                cache.record(held, pool.snapshot, index: index)
            }
            let scheduler = Scheduler(
                profiles: [SchedulingProfile(name: "p", scorers: everyScorer)],
                prefixCache: cache
            )
            let order = Array(0..<pool.snapshot.count).shuffled(using: &generator)
            let straight = Candidates(snapshot: pool.snapshot, indexes: 0..<pool.snapshot.count)
            let shuffled = Candidates(snapshot: pool.snapshot, indexes: order)
            let a = try scheduler.schedule(request(hashes: blocks), straight, using: &generator).primary
            let b = try scheduler.schedule(request(hashes: blocks), shuffled, using: &generator).primary
            for (position, index) in order.enumerated() {
                #expect(a.totals[index] == b.totals[position])
                for scorer in everyScorer.indices {
                    #expect(a.score(scorer, at: index) == b.score(scorer, at: position))
                }
            }
            #expect(a.totals[a.picked[0]] == b.totals[b.picked[0]])
            if a.totals.filter({ $0 == a.totals.max() }).count == 1 { #expect(a.endpoint === b.endpoint) }
        }
    }

    @Test("A burst between two scrapes spreads over equal endpoints")
    func burst() throws {
        var generator = SeededGenerator(seed: 2)
        let pool = makePool(count: 8)
        let scheduler = Scheduler(profiles: [SchedulingProfile(name: "p", scorers: Array(everyScorer.prefix(2)))])
        var counts: [String: Int] = [:]
        for _ in 0..<80 {
            let result = try scheduler.schedule(request(), pool.everyone, using: &generator)
            counts[result.endpoint.identity.name, default: 0] += 1
            hold(pool.reserve(result.endpoint, tokens: 1))
        }
        #expect(counts.count == 8)
        #expect(counts.values.allSatisfy { $0 == 10 }, "\(counts)")
    }

    private func hold(_ reservation: consuming Reservation) {
        held.append(Held(reservation))
    }

    private let held = Holder()
}

/// Keeps reservations until the test ends.
private final class Holder {
    private var list: [Held] = []

    func append(_ held: Held) { list.append(held) }
}

private final class Held {
    private let reservation: Reservation

    init(_ reservation: consuming Reservation) { self.reservation = reservation }
}

private final class Ticks: Sendable {
    private let count = Atomic<UInt64>(0)

    func next() -> UInt64 { count.wrappingAdd(1, ordering: .relaxed).oldValue }
}
