import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("Whatever happens, nothing is lost")
struct PropertyTests {
    struct Fairness: Sendable, CustomTestStringConvertible {
        var policy: any FairnessPolicy
        var isStrict: Bool
        var testDescription: String { isStrict ? "global-strict" : "round-robin" }
    }

    static let policies = [
        Fairness(policy: GlobalStrictFairnessPolicy(), isStrict: true),
        Fairness(policy: RoundRobinFairnessPolicy(), isStrict: false),
    ]

    @Test(
        "Each request ends in exactly one outcome, the pool is never overfilled, and one band goes in order",
        arguments: policies,
        [UInt64(1), 2, 3]
    )
    func everyRequestEndsOnce(fairness: Fairness, seed: UInt64) {
        let capacity = 6
        let harness = Harness(endpoints: 3, perEndpoint: 2) { settings in
            settings.defaultBand.maxRequests = 8
            settings.maxRequests = 14
            settings.maxBytes = 600
            settings.requestTTL = .milliseconds(300)
            settings.defaultBand.fairness = fairness.policy
        }
        var generator = SeededGenerator(seed: seed)
        var waiting: [QueuedRequest] = []
        var counts: [AdmissionOutcome: Int] = [:]
        var total = 0
        var admittedAtOnce = 0
        /// The last number that went, by priority (and flow, where flows take turns).
        var latest: [String: UInt64] = [:]

        func collect() {
            // Placing one may let the next one go, so look again until nobody has.
            while let index = waiting.firstIndex(where: { $0.outcome != nil }) {
                let ended = waiting.filter { $0.outcome != nil }.sorted { $0.number < $1.number }
                waiting.removeAll { $0.outcome != nil }
                _ = index
                for request in ended {
                    guard let outcome = request.outcome else { continue }
                    counts[outcome, default: 0] += 1
                    guard outcome == .dispatched else { continue }
                    let flow = fairness.isStrict ? "" : request.request.fairnessID
                    let key = "\(request.request.priority) \(flow)"
                    #expect(request.number > latest[key] ?? 0, "one that came later went first")
                    latest[key] = request.number
                    if Int.random(in: 0..<10, using: &generator) == 0 {
                        harness.controller.grant(of: request).release()
                    } else {
                        harness.place(request)
                    }
                }
            }
            #expect(harness.inFlight <= capacity)
            #expect(harness.controller.waiting.requests == waiting.count)
            #expect(harness.controller.waiting.bytes == waiting.reduce(0) { $0 + $1.request.byteCount })
        }

        for _ in 0..<4_000 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<6:
                total += 1
                let entry = harness.admit(
                    priority: .random(in: -2...2, using: &generator),
                    flow: "f\(Int.random(in: 0..<5, using: &generator))",
                    bytes: .random(in: 0..<100, using: &generator)
                )
                switch entry {
                case .admitted: admittedAtOnce += 1
                case .queued(let queued): waiting.append(queued)
                case .refused(let outcome): counts[outcome, default: 0] += 1
                }
            case 6..<8: harness.endOne()
            case 8:
                if let gone = waiting.randomElement(using: &generator) { harness.controller.leave(gone) }
            default: harness.alarm.advance(by: .milliseconds(.random(in: 0..<40, using: &generator)))
            }
            collect()
        }
        harness.controller.drain()
        collect()
        #expect(waiting.isEmpty)
        #expect(counts.values.reduce(0, +) + admittedAtOnce == total)
        for outcome in [AdmissionOutcome.dispatched, .queueFull, .expired, .cancelled, .displaced, .shuttingDown] {
            #expect(counts[outcome, default: 0] > 0, "\(outcome) never happened")
        }
    }

    @Test("Many threads at once neither overfill the pool nor lose a request")
    func threads() async {
        let alarm = ManualAlarm()
        let pool = Pool(stalenessThreshold: .seconds(3600))
        pool.replaceEndpoints((0..<4).map { Harness.description($0) })
        var detector = ConcurrencyDetector()
        detector.maxConcurrency = 2
        let controller = AdmissionController(
            pool: pool,
            settings: AdmissionSettings(detector: detector, flowControl: FlowControlSettings()),
            alarm: alarm,
            clock: { alarm.now }
        )
        let outcomes = await withTaskGroup(of: AdmissionOutcome.self) { group in
            for number in 0..<400 {
                group.addTask {
                    let request = AdmissionRequest(
                        fairnessID: "f\(number % 7)",
                        priority: number % 3,
                        receivedAt: alarm.now
                    )
                    func serve(_ grant: consuming AdmissionGrant) async {
                        let endpoint = pool.snapshot.endpoints[number % 4]
                        let reservation = pool.reserve(endpoint, tokens: 1)
                        grant.release()
                        let inFlight = pool.snapshot.endpoints.reduce(0) { $0 + $1.load.reading.requests }
                        #expect(inFlight <= 8)
                        await Task.yield()
                        reservation.release()
                    }
                    switch controller.admit(request, candidates: { pool.candidates(at: alarm.now) }) {
                    case .admitted(let grant):
                        await serve(grant)
                        return .dispatched
                    case .refused(let outcome): return outcome
                    case .queued(let queued):
                        let outcome = await controller.outcome(of: queued)
                        if outcome == .dispatched { await serve(controller.grant(of: queued)) }
                        return outcome
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.count == 400)
        #expect(outcomes.allSatisfy { $0 == .dispatched })
        #expect(controller.waiting.requests == 0)
    }
}
