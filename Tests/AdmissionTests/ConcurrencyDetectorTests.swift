import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("concurrency-detector")
struct ConcurrencyDetectorTests {
    private let fixture = SaturationFixture()
    private var pool: Pool { fixture.pool }
    private var now: MonotonicTime { fixture.now }

    private func value(_ detector: any SaturationDetector, at time: MonotonicTime) -> Double {
        fixture.value(detector, at: time)
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

    @Test("As a filter, it lets endpoints go beyond their limits by the headroom, stale or not")
    func rooms() {
        pool.replaceEndpoints([Harness.description(0)])
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
