import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("Saturation")
struct SaturationTests {
    let pool = Pool(stalenessThreshold: .seconds(2))
    let now = MonotonicTime(nanoseconds: 10_000_000_000)

    private func scrape(_ values: [(waiting: Int, kvCache: Double)], at time: MonotonicTime) {
        for (endpoint, value) in zip(pool.snapshot.endpoints, values) {
            var update = MetricsUpdate()
            update.waitingQueueSize = value.waiting
            update.kvCacheUsage = value.kvCache
            pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: time), update)
        }
        pool.publish()
    }

    private func value(_ detector: any SaturationDetector, at time: MonotonicTime) -> Double {
        var saturation = PoolSaturation(detector)
        saturation.update(pool, at: time)
        return saturation.value
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

    @Test(
        "What was granted is measured by the detector of the moment, so that nothing is left of it when it is settled"
    )
    func adopted() {
        pool.replaceEndpoints([Harness.description(0)])
        var byTokens = ConcurrencyDetector()
        byTokens.mode = .tokens
        byTokens.maxTokenConcurrency = 10_000
        var saturation = PoolSaturation(byTokens)
        saturation.update(pool, at: now)
        saturation.grant(tokens: 5_000)
        #expect(saturation.value == 0.5)
        var byRequests = ConcurrencyDetector()
        byRequests.maxConcurrency = 10
        saturation.adopt(byRequests)
        saturation.update(pool, at: now)
        #expect(saturation.value == 0.1)
        saturation.settle(tokens: 5_000)
        #expect(saturation.value == 0)
        saturation.grant(tokens: .max)
        saturation.grant(tokens: .max)
    }

    @Test("concurrency-detector: what is in flight by what is allowed, in requests or tokens")
    func concurrency() {
        pool.replaceEndpoints((0..<2).map { Harness.description($0) })
        var detector = ConcurrencyDetector()
        #expect(value(detector, at: now) == 0)
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 500_000)
        #expect(value(detector, at: now) == 1.0 / 200)
        detector.mode = .tokens
        #expect(value(detector, at: now) == 0.25)
        reservation.release()
    }

    @Test("No endpoints are a full pool")
    func empty() {
        #expect(value(UtilizationDetector(), at: now) == 1)
        #expect(value(ConcurrencyDetector(), at: now) == 1)
    }

    @Test("A disaggregated pool is as full as the fuller of prefill and decode")
    func stages() {
        let roles = ["prefill", "decode", nil, "prefill-decode", "encode"]
        pool.replaceEndpoints(roles.enumerated().map { Harness.description($0, role: $1) })
        let detector = UtilizationDetector()
        // Prefill: endpoints 0 and 3. Decode: 1, 2 and 3. Encode: 4.
        scrape([(5, 0), (0, 0), (0, 0), (0, 0), (0, 0)], at: now)
        #expect(value(detector, at: now) == 0.5)
        scrape([(0, 0), (5, 0), (5, 0), (5, 0), (0, 0)], at: now)
        #expect(value(detector, at: now) == 1)
        scrape([(0, 0), (0, 0), (0, 0), (0, 0), (10, 0)], at: now)
        #expect(value(detector, at: now) == 0, "not everybody needs an encoder")
        pool.replaceEndpoints([Harness.description(9, role: "encode")])
        scrape([(10, 0)], at: now)
        #expect(value(detector, at: now) == 2, "but nobody else is there")
    }

    @Test("Kept up to date one endpoint at a time, it is what reading the whole pool gives")
    func incremental() {
        pool.replaceEndpoints((0..<7).map { Harness.description($0, role: $0 % 3 == 0 ? "prefill" : nil) })
        scrape((0..<7).map { ($0, Double($0) / 10) }, at: now)
        let detector = UtilizationDetector()
        var kept = PoolSaturation(detector)
        kept.update(pool, at: now)
        var generator = SeededGenerator(seed: 3)
        var held: [Held?] = []
        for _ in 0..<500 {
            let endpoint = pool.snapshot.endpoints[Int.random(in: 0..<7, using: &generator)]
            if Bool.random(using: &generator) || held.isEmpty {
                held.append(Held(pool.reserve(endpoint, tokens: 10)))
                kept.refresh(endpoint)
            } else {
                held[Int.random(in: 0..<held.count, using: &generator)] = nil
                for endpoint in pool.snapshot.endpoints { kept.refresh(endpoint) }
            }
            #expect(abs(kept.value - value(detector, at: now)) < 1e-9)
        }
    }

    @Test("As filters, detectors let endpoints go beyond their limits by the headroom")
    func rooms() {
        pool.replaceEndpoints([Harness.description(0)])
        scrape([(5, 0.7)], at: now)
        var detector = UtilizationDetector()
        #expect(!detector.hasRoom(0, of: pool.candidates(at: now), isFresh: true))
        detector.headroom = 0.2
        #expect(detector.hasRoom(0, of: pool.candidates(at: now), isFresh: true))
        #expect(!detector.hasRoom(0, of: pool.candidates(at: now), isFresh: false))
        var concurrency = ConcurrencyDetector()
        concurrency.maxConcurrency = 1
        #expect(concurrency.hasRoom(0, of: pool.candidates(at: now), isFresh: false))
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 1)
        #expect(!concurrency.hasRoom(0, of: pool.candidates(at: now), isFresh: true))
        concurrency.headroom = 0.5
        #expect(concurrency.hasRoom(0, of: pool.candidates(at: now), isFresh: true))
        reservation.release()
    }
}
