import Pool
import Scheduling
import Testing

@Suite("endpoint-attribute-filter")
struct EndpointAttributeFilterTests {
    private let pool = makePool([Page(waiting: 1), Page(waiting: 5), Page(waiting: 9)])

    private func kept(_ comparison: EndpointAttributeFilter.Comparison, _ threshold: Double) -> [Int] {
        let filter = EndpointAttributeFilter(
            attribute: .waitingQueueSize,
            comparison: comparison,
            threshold: threshold
        )
        return SchedulingTests.kept(filter, pool.everyone)
    }

    @Test("The six comparisons")
    func comparisons() {
        #expect(kept(.lessThan, 5) == [0])
        #expect(kept(.lessThanOrEqual, 5) == [0, 1])
        #expect(kept(.greaterThan, 5) == [2])
        #expect(kept(.greaterThanOrEqual, 5) == [1, 2])
        #expect(kept(.equal, 5) == [1])
        #expect(kept(.notEqual, 5) == [0, 2])
    }

    @Test(
        "What was sent since the page is not compared, but in the attributes that count it",
        arguments: [.waitingQueueSize, .runningRequestsSize, .kvCacheUsagePercent, .inFlightRequests]
            as [EndpointAttribute]
    )
    func burst(attribute: EndpointAttribute) {
        let pool = makePool([Page(blockSize: 16, blockCount: 10)])
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 100)
        let filter = EndpointAttributeFilter(attribute: attribute, comparison: .lessThanOrEqual, threshold: 0)
        #expect(SchedulingTests.kept(filter, pool.everyone) == (attribute == .inFlightRequests ? [] : [0]))
        reservation.release()
    }

    @Test("An endpoint that has not told the number passes, or fails if that is said")
    func missing() {
        let pool = makePool([Page(blockSize: 16), Page(blockSize: 0)])
        let filter = { (passes: Bool) in
            EndpointAttributeFilter(
                attribute: .cacheBlockSize,
                comparison: .lessThan,
                threshold: 10,
                passesMissing: passes
            )
        }
        #expect(SchedulingTests.kept(filter(true), pool.everyone) == [1])
        #expect(SchedulingTests.kept(filter(false), pool.everyone) == [])
        let unseen = Pool(stalenessThreshold: .seconds(2))
        unseen.replaceEndpoints(descriptions(1))
        let queue = EndpointAttributeFilter(
            attribute: .waitingQueueSize,
            comparison: .greaterThan,
            threshold: 3,
            passesMissing: true
        )
        #expect(SchedulingTests.kept(queue, unseen.everyone) == [0])
    }

    @Test("When nobody passes there is nobody, or everybody with fallbackOnEmpty")
    func fallback() {
        #expect(kept(.lessThan, 0) == [])
        let filter = EndpointAttributeFilter(
            attribute: .waitingQueueSize,
            comparison: .lessThan,
            threshold: 0,
            fallbackOnEmpty: true
        )
        #expect(SchedulingTests.kept(filter, pool.everyone) == [0, 1, 2])
    }
}
