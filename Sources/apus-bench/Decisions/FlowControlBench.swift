import Admission
import Bytes
import Pool

/// A full pool, a long queue in front of it, and its end.
enum FlowControlBench {
    private static let flows = 1_000
    private static let endpoints = 100

    static func measure(_ suite: inout Suite) {
        let requests = suite.repetitions(100_000)
        for (policies, key, ordering, fairness) in policies {
            let lines = [
                Suite.Line(
                    title: "flow control, \(requests.grouped) of \(flows.grouped) flows, \(policies): enqueue",
                    key: "enqueue_\(key)_us",
                    unit: "µs",
                    digits: 2,
                    goal: 5
                ),
                Suite.Line(
                    title: "flow control, \(policies): end one, dispatch and place the next",
                    key: "dispatch_\(key)_us",
                    unit: "µs",
                    digits: 2,
                    goal: 5
                ),
            ]
            suite.measure(lines) { round(requests, ordering, fairness) }
        }
    }

    private static var policies: [(String, String, any OrderingPolicy, any FairnessPolicy)] {
        [
            ("fcfs, global-strict", "fcfs", FCFSOrderingPolicy(), GlobalStrictFairnessPolicy()),
            ("edf, round-robin", "edf", EDFOrderingPolicy(), RoundRobinFairnessPolicy()),
        ]
    }

    private static func round(
        _ requests: Int,
        _ ordering: any OrderingPolicy,
        _ fairness: any FairnessPolicy
    ) -> [Double] {
        let pool = BenchPool.make(endpoints)
        var detector = ConcurrencyDetector()
        detector.maxConcurrency = 1
        var flowControl = FlowControlSettings()
        flowControl.defaultBand.maxRequests = requests
        flowControl.defaultBand.ordering = ordering
        flowControl.defaultBand.fairness = fairness
        let controller = AdmissionController(
            pool: pool,
            settings: AdmissionSettings(detector: detector, flowControl: flowControl),
            alarm: NoAlarm(),
            clock: { .now() }
        )
        let names = (0..<flows).map { "flow-\($0)" }
        var running = pool.snapshot.endpoints.map { Optional(HeldReservation(pool.reserve($0, tokens: 1))) }
        var waiting: [QueuedRequest] = []
        waiting.reserveCapacity(requests)
        let enqueue = cpuMicroseconds(per: requests) {
            for number in 0..<requests {
                let request = AdmissionRequest(
                    fairnessID: names[number % flows],
                    byteCount: 100,
                    tokens: 10,
                    receivedAt: .now()
                )
                if case .queued(let queued) = controller.admit(request, candidates: { pool.candidates(at: .now()) }) {
                    waiting.append(queued)
                }
            }
        }
        let dispatch = cpuMicroseconds(per: waiting.count) {
            for (number, queued) in waiting.enumerated() {
                let place = number % endpoints
                running[place] = nil
                // Which of them was let go does not matter to what its grant counts: they are alike.
                let grant = controller.grant(of: queued)
                running[place] = HeldReservation(pool.reserve(pool.snapshot.endpoints[place], tokens: 1))
                grant.release()
            }
        }
        return [enqueue, dispatch]
    }
}

/// Nobody waits here for so long that it would have to ring.
private struct NoAlarm: AdmissionAlarm {
    func set(_ time: MonotonicTime?, _ ring: @escaping @Sendable () -> Void) {}
}
