import Bytes
import Pool
import Scheduling
import Testing

@Suite("kv-cache-utilization-scorer")
struct KVCacheUtilizationScorerTests {
    @Test("The score is the free share of the cache")
    func formula() {
        let pages = [0.8, 0.5, 0, 1].map { Page(usage: $0) }
        #expect(isClose(scores(KVCacheUtilizationScorer(), pages), [0.2, 0.5, 1, 0]))
    }

    @Test("Tokens sent since the scrape count when the cache's size is known")
    func inFlight() {
        let pool = makePool([Page(usage: 0.5, blockSize: 16, blockCount: 100), Page(usage: 0.5)])
        let first = pool.reserve(pool.snapshot.endpoints[0], tokens: 400)
        let second = pool.reserve(pool.snapshot.endpoints[1], tokens: 400)
        #expect(isClose(scores(KVCacheUtilizationScorer(), pool.everyone), [0.25, 0.5]))
        first.release()
        second.release()
    }

    @Test("A page that claims nonsense gives no score outside 0...1 in a decision")
    func nonsense() throws {
        var generator = SeededGenerator(seed: 1)
        let pool = makePool([Page(usage: .nan), Page(usage: -3), Page(usage: 7), Page(usage: 0.5)])
        let profile = SchedulingProfile(
            name: "p",
            scorers: [.init(name: "kv", weight: 1, scorer: KVCacheUtilizationScorer())]
        )
        let result = try #require(profile.run(request(), pool.everyone, using: &generator))
        #expect(result.scores.allSatisfy { (0...1).contains($0) })
    }
}
