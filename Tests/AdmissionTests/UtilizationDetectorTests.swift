import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("utilization-detector")
struct UtilizationDetectorTests {
    private let fixture = SaturationFixture()
    private var pool: Pool { fixture.pool }
    private var now: MonotonicTime { fixture.now }

    private func scrape(_ values: [(waiting: Int, kvCache: Double)], at time: MonotonicTime) {
        fixture.scrape(values, at: time)
    }

    private func value(_ detector: any SaturationDetector, at time: MonotonicTime) -> Double {
        fixture.value(detector, at: time)
    }

    @Test("utilization-detector: the mean of the larger of queue / 5 and cache / 0.8; old metrics count 1")
    func utilization() {
        pool.replaceEndpoints((0..<2).map { Harness.description($0) })
        let detector = UtilizationDetector()
        #expect(value(detector, at: now) == 1, "never scraped")
        scrape([(0, 0), (0, 0)], at: now)
        #expect(value(detector, at: now) == 0)
        scrape([(5, 0.1), (1, 0.4)], at: now)
        #expect(abs(value(detector, at: now) - 0.75) < 1e-6)
        #expect(abs(value(detector, at: now + .milliseconds(199)) - 0.75) < 1e-6)
        #expect(value(detector, at: now + .milliseconds(200)) == 1)
        scrape([(50, 0), (0, 0)], at: now)
        #expect(value(detector, at: now) == 5, "above 1 it is not cut off")
    }

    @Test("utilization-detector counts what was sent since the scrape")
    func effectiveLoad() {
        pool.replaceEndpoints([Harness.description(0)])
        scrape([(1, 0)], at: now)
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 1)
        #expect(abs(value(UtilizationDetector(), at: now) - 0.4) < 1e-6)
        reservation.release()
    }

    @Test("What was sent since a page waits only where the engine is not taken to run it at once")
    func freePlaces() {
        pool.replaceEndpoints([Harness.description(0)])
        let detector = UtilizationDetector()
        var held: [Held] = []
        func page(waiting: Int, running: Int) {
            let endpoint = pool.snapshot.endpoints[0]
            var update = MetricsUpdate()
            update.waitingQueueSize = waiting
            update.runningRequests = running
            pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: now), update)
            pool.publish()
        }
        /// How many can be sent until one counts as waiting.
        func free() -> Int {
            var count = 0
            while pool.candidates(at: now).list[0].queued == Float(pool.snapshot.metrics[0].waitingQueueSize) {
                held.append(Held(pool.reserve(pool.snapshot.endpoints[0], tokens: 1)))
                count += 1
            }
            return count - 1
        }
        page(waiting: 0, running: 0)
        #expect(free() == 256, "nobody knows what it can run")
        #expect(abs(value(detector, at: now) - 0.2) < 1e-6)
        page(waiting: 0, running: 300)
        #expect(free() == 300, "twice what runs without a queue")
        // Of the 301 it started 18.
        page(waiting: 283, running: 32)
        #expect(value(detector, at: now) > 50, "the queue of the page counts as it is")
        #expect(free() == 18, "as many as it started between two pages")
        page(waiting: 0, running: 30)
        page(waiting: 0, running: 30)
        #expect(free() == 18, "it ran 32 when there was a queue, and half as many may be more")
        page(waiting: 0, running: 48)
        page(waiting: 0, running: 48)
        #expect(free() == 24, "which is so")
        page(waiting: 0, running: 0)
        page(waiting: 0, running: 0)
        #expect(free() == 256, "an idle engine may run anything")
        page(waiting: 9, running: 248)
        #expect(value(detector, at: now) > 1.7)
        held.removeLast(7)
        #expect(abs(value(detector, at: now) - 0.4) < 1e-6, "of those that waited 7 run where others have ended")
        withExtendedLifetime(held) {}
    }

    @Test("As a filter, it lets endpoints go beyond their limits by the headroom, and stale ones not at all")
    func rooms() {
        pool.replaceEndpoints([Harness.description(0)])
        scrape([(5, 0.7)], at: now)
        var detector = UtilizationDetector()
        #expect(!detector.hasRoom(0, of: pool.candidates(at: now), isFresh: true))
        detector.headroom = 0.2
        #expect(detector.hasRoom(0, of: pool.candidates(at: now), isFresh: true))
        #expect(!detector.hasRoom(0, of: pool.candidates(at: now), isFresh: false))
    }
}
