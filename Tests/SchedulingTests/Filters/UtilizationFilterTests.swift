import Pool
import Scheduling
import Testing

@Suite("utilization-filter")
struct UtilizationFilterTests {
    private let pool = makePool([
        Page(waiting: 0, running: 4, usage: 0.5), Page(waiting: 3, running: 2, usage: 0.8),
        Page(waiting: 9, running: 0, usage: 0.9),
    ])

    private func kept(_ metric: UtilizationFilter.Metric, _ limit: Double, fallback: Bool = false) -> [Int] {
        let filter = UtilizationFilter(
            conditions: [.init(metric: metric, maxValue: limit)],
            fallbackOnEmpty: fallback
        )
        return SchedulingTests.kept(filter, pool.everyone)
    }

    @Test("A value that equals its limit passes, one above does not")
    func limits() {
        #expect(kept(.waitingQueue, 3) == [0, 1])
        #expect(kept(.runningRequests, 1) == [2])
        #expect(kept(.kvCacheUtilization, 0.8) == [0, 1])
    }

    @Test("Active requests are those that Apus has in flight")
    func active() {
        let reservation = pool.reserve(pool.snapshot.endpoints[1], tokens: 1)
        #expect(kept(.activeRequests, 0) == [0, 2])
        #expect(kept(.activeRequests, 1) == [0, 1, 2])
        reservation.release()
    }

    @Test(
        "A burst between two pages is not refused: limits are compared with the page, and only active requests count at once"
    )
    func burst() {
        let pool = makePool(Array(repeating: Page(blockSize: 16, blockCount: 10), count: 2))
        let idle = UtilizationFilter(conditions: [
            .init(metric: .waitingQueue, maxValue: 0), .init(metric: .runningRequests, maxValue: 0),
            .init(metric: .kvCacheUtilization, maxValue: 0),
        ])
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 100)
        let other = pool.reserve(pool.snapshot.endpoints[1], tokens: 100)
        #expect(pool.everyone.list.map(\.waiting) == [1, 1])
        #expect(SchedulingTests.kept(idle, pool.everyone) == [0, 1])
        let busy = UtilizationFilter(conditions: [.init(metric: .activeRequests, maxValue: 0)])
        #expect(SchedulingTests.kept(busy, pool.everyone) == [])
        reservation.release()
        other.release()
    }

    @Test("Every condition must hold")
    func conditions() {
        let filter = UtilizationFilter(conditions: [
            .init(metric: .waitingQueue, maxValue: 3), .init(metric: .runningRequests, maxValue: 3),
        ])
        #expect(SchedulingTests.kept(filter, pool.everyone) == [1])
    }

    @Test("When nobody passes there is nobody, or everybody with fallbackOnEmpty")
    func fallback() {
        #expect(kept(.kvCacheUtilization, 0.1) == [])
        #expect(kept(.kvCacheUtilization, 0.1, fallback: true) == [0, 1, 2])
        #expect(kept(.waitingQueue, 0, fallback: true) == [0])
    }
}
