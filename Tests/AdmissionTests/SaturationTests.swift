import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("Saturation")
struct SaturationTests {
    private let fixture = SaturationFixture()
    private var pool: Pool { fixture.pool }
    private var now: MonotonicTime { fixture.now }

    private func scrape(_ values: [(waiting: Int, kvCache: Double)], at time: MonotonicTime) {
        fixture.scrape(values, at: time)
    }

    private func value(_ detector: any SaturationDetector, at time: MonotonicTime) -> Double {
        fixture.value(detector, at: time)
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
}
