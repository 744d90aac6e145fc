import Bytes
import Pool
import Scheduling
import Testing

@Suite("prefix-cache-affinity-filter")
struct PrefixCacheAffinityFilterTests {
    private let pool = makePool(count: 4)
    private let cache = ApproximatePrefixCache()
    private let blocks = prompt(10, seed: 1)

    /// Endpoint 0 holds nothing of the prompt, 1 seven blocks of ten, 2 eight, 3 all.
    init() {
        for (index, count) in [(1, 7), (2, 8), (3, 10)] {
            let held = PromptBlocks(hashes: Array(blocks.prefix(count)), blockTokens: 16)
            cache.record(held, pool.snapshot, index: index)
        }
    }

    /// Who is left, through a whole decision: scores are equal, so all that are left are candidates.
    private func left(_ settings: PrefixCacheAffinityFilter.Settings, seed: UInt64 = 1) throws -> [Int] {
        let scheduler = Scheduler(
            profiles: [
                SchedulingProfile(
                    name: "p",
                    filters: [.init(name: "f", filter: PrefixCacheAffinityFilter(settings))],
                    scorers: []
                )
            ],
            prefixCache: cache
        )
        var generator = SeededGenerator(seed: seed)
        let result = try scheduler.schedule(request(hashes: blocks), pool.everyone, using: &generator)
        return result.primary.candidates.list.map(\.index)
    }

    @Test("Endpoints that hold at least the threshold's share are left; 0.8 by default")
    func threshold() throws {
        var settings = PrefixCacheAffinityFilter.Settings()
        #expect(try left(settings) == [2, 3])
        settings.affinityThreshold = 1
        #expect(try left(settings) == [3])
        settings.affinityThreshold = 0.05
        #expect(try left(settings) == [1, 2, 3])
        settings.affinityThreshold = 0
        #expect(try left(settings) == [0, 1, 2, 3])
    }

    @Test("Everybody passes when nobody holds enough, and without knowledge of prefixes")
    func nobody() throws {
        let few = Candidates(snapshot: pool.snapshot, indexes: [0, 1])
        var holding = request(hashes: blocks)
        #expect(kept(PrefixCacheAffinityFilter(), few, holding) == [0, 1])
        holding = request()
        #expect(kept(PrefixCacheAffinityFilter(), pool.everyone, holding) == [0, 1, 2, 3])
    }

    @Test("A wait of more than 18 s over the others' breaks affinity: 15928 tokens in flight are one second")
    func penalty() throws {
        let settings = PrefixCacheAffinityFilter.Settings()
        let second = 15_928
        let first = pool.reserve(pool.snapshot.endpoints[2], tokens: 19 * second)
        let other = pool.reserve(pool.snapshot.endpoints[3], tokens: 18 * second)
        // The better of those that hold it waits 18 s, no longer than allowed.
        #expect(try left(settings) == [2, 3])
        let more = pool.reserve(pool.snapshot.endpoints[3], tokens: second / 2)
        #expect(try left(settings) == [0, 1, 2, 3])
        // The others wait, too.
        let busy = [0, 1].map { pool.snapshot.endpoints[$0] }
        let zero = pool.reserve(busy[0], tokens: second)
        let one = pool.reserve(busy[1], tokens: second)
        #expect(try left(settings) == [2, 3])
        zero.release()
        var patient = settings
        patient.maxTTFTPenaltyMs = 0
        #expect(try left(patient) == [2, 3])
        first.release()
        other.release()
        more.release()
        one.release()
    }

    @Test("Exploring lets everybody pass as often as it says")
    func exploration() throws {
        var settings = PrefixCacheAffinityFilter.Settings()
        settings.explorationProbability = 1
        #expect(try left(settings) == [0, 1, 2, 3])
        settings.explorationProbability = 0.25
        let explored = try (0..<2_000).filter {
            try left(settings, seed: UInt64($0) &* 0x9E37_79B9_7F4A_7C15).count == 4
        }
        // 500 are expected; the standard deviation is 19.
        #expect(abs(explored.count - 500) < 120, "\(explored.count)")
    }
}
