import Bytes
import Pool
import Testing

@Suite("Snapshots that share what has not changed")
struct SnapshotTests {
    private static let count = 50
    private let pool = Pool(stalenessThreshold: .seconds(2))

    init() {
        pool.replaceEndpoints((0..<Self.count).map { description("\($0)") })
    }

    private func waiting(_ snapshot: Snapshot) -> [Int] { snapshot.metrics.map(\.waitingQueueSize) }

    @Test("Every page is in the next snapshot at its endpoint's index, and in none before")
    func pages() {
        var expected = Array(repeating: 0, count: Self.count)
        for (round, index) in [0, 15, 16, 31, 32, 49, 16].enumerated() {
            let before = pool.snapshot
            pool.scrape(index, update(waiting: round + 1), at: .at(round))
            #expect(waiting(before) == expected)
            expected[index] = round + 1
            #expect(waiting(pool.snapshot) == expected)
            #expect(pool.snapshot.scrapes[index].updatedAt == .at(round))
            #expect(pool.snapshot.membership == before.membership)
        }
        #expect(pool.snapshot.scrapes.count { $0.updatedAt == nil } == Self.count - 6)
    }

    @Test("Pages that wait to be published when the members change are there afterwards, at the new indexes")
    func changes() {
        let endpoint = pool.snapshot.endpoints[40]
        let gone = pool.snapshot.endpoints[3]
        for endpoint in [endpoint, gone] {
            pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: .at(1)), update(waiting: 7))
        }
        pool.replaceEndpoints((10..<Self.count).map { description("\($0)") })
        #expect(waiting(pool.snapshot) == (10..<Self.count).map { $0 == 40 ? 7 : 0 })
        pool.scrapeSucceeded(gone, pool.scrapeStarted(gone, at: .at(2)), update(waiting: 8))
        pool.publish()
        pool.scrape(30, update(waiting: 9), at: .at(3))
        #expect(waiting(pool.snapshot)[30] == 9)
        #expect(waiting(pool.snapshot).reduce(0, +) == 9)
        #expect(pool.snapshot.endpoints[30] === endpoint)
    }

    @Test("Nothing new publishes nothing")
    func nothing() {
        let before = pool.snapshot
        pool.publish()
        #expect(pool.snapshot === before)
    }

    @Test("The size of blocks that all tell is told, and none where they differ")
    func blockSizes() {
        func tell(_ index: Int, _ size: Int) {
            var update = MetricsUpdate()
            update.cacheBlockSize = size
            pool.scrape(index, update, at: .at(1))
        }
        #expect(pool.snapshot.onlyCacheBlockSize == nil)
        tell(20, 16)
        tell(45, 16)
        #expect(pool.snapshot.onlyCacheBlockSize == 16)
        tell(3, 32)
        #expect(pool.snapshot.onlyCacheBlockSize == nil)
    }
}
