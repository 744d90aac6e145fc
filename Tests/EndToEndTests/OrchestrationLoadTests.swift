import Bytes
import TestSupport
import Testing

/// Many clients at once that send one request after the other.
private final class Crowd: Sendable {
    private struct State {
        var left: Int
        var isStopped = false
        var answers: [(end: ContinuousClock.Instant, seconds: Double)] = []
        var failures: [String] = []
    }

    private let state: Lock<State>

    private init(_ requests: Int) { state = Lock(State(left: requests)) }

    var answers: Int { state.withLock { $0.answers.count } }
    var failures: [String] { state.withLock { $0.failures } }

    /// - Parameters:
    ///   - requests: how many at most.
    ///   - body: runs beside them; afterwards no request begins.
    static func during(
        _ deployment: Disaggregated,
        clients: Int,
        requests: Int = .max,
        _ body: (Crowd) async throws -> Void = { _ in }
    ) async throws -> Crowd {
        let crowd = Crowd(requests)
        let running = Task {
            await withDiscardingTaskGroup { group in
                for client in 0..<clients { group.addTask { await crowd.run(client, deployment) } }
            }
        }
        do {
            try await body(crowd)
        } catch {
            crowd.stop()
            await running.value
            throw TestFailure("\(error); \(crowd.answers) answers and \(crowd.failures.prefix(5))")
        }
        if requests == .max { crowd.stop() }
        await running.value
        return crowd
    }

    private func stop() { state.withLock { $0.isStopped = true } }

    /// 99 of 100 answers that came within this time took no longer, in milliseconds.
    func percentile(from start: ContinuousClock.Instant, for length: Duration) -> Int {
        let times = state.withLock { state in
            state.answers.filter { $0.end >= start && $0.end < start + length }.map(\.seconds)
        }.sorted()
        return times.isEmpty ? 0 : Int(times[times.count * 99 / 100] * 1000)
    }

    private func run(_ client: Int, _ deployment: Disaggregated) async {
        var number = 0
        while state.withLock({ state in
            guard !state.isStopped, state.left > 0 else { return false }
            state.left -= 1
            return true
        }) {
            number += 1
            let stream = (client + number) % 2 == 0
            let named = Disaggregated.named(Ask.chat("Client \(client), request \(number)", stream: stream))
            let start = ContinuousClock.now
            do {
                let response = try await deployment.client.send(named.request)
                let end = ContinuousClock.now
                let tokens = try response.status == 200 ? response.usage["completion_tokens"].int : nil
                let (whole, parts) = (start.duration(to: end) / .seconds(1), response.text.prefix(300))
                state.withLock { state in
                    state.answers.append((end, whole))
                    if tokens != 5 { state.failures.append("\(named.id): \(response.status) \(parts)") }
                }
            } catch {
                state.withLock { $0.failures.append("\(named.id): \(error)") }
            }
        }
    }
}

@Suite("Prefills that fail under load", .serialized, .showsLogs)
struct OrchestrationLoadTests {
    /// Each one percent of the prefills.
    private static let ways = [
        "500", "502", "503", "504", "429", "close", "reset", "eof-body", "reset-body", "hang", "hang-body", "error-200",
        "truncated-json", "huge-body", "endless-headers", "garbage", "deep-json", "kv-missing", "kv-null",
        "kv-malformed",
        "kv-partial",
    ]

    @Test(
        "While one percent of the prefills fail in each way, no client sees an error",
        arguments: [Disaggregated.Connector.nixlv2, .sglang],
        Disaggregated.Mode.allCases
    )
    func someFail(_ connector: Disaggregated.Connector, _ mode: Disaggregated.Mode) async throws {
        // Failures come sooner than answers, and all that hangs ends at once: a breaker could open by chance, and an endpoint less is left.
        var plan = Disaggregated.Plan(connector, mode).withoutBreakers()
        plan.orchestration += ["attemptTimeout: 5s"]
        try await withDisaggregated(plan) { deployment in
            // The third attempt is sound: what all three endpoints fail is not what this is about.
            let ways = connector.isSerial ? Self.ways : Self.ways.filter { !$0.hasPrefix("kv-") }
            let rules = ways.flatMap { way in
                // A second 500 is taken for the request's own doing.
                (way == "500" ? [1] : [1, 2]).map { "prefill-\(way)=0.01,attempt=\($0)" }
            }
            try await deployment.setFaults(rules, servers: deployment.prefills)
            let crowd = try await Crowd.during(deployment, clients: 200, requests: 1000)
            #expect(crowd.failures == [], "\(crowd.failures.count) of \(crowd.answers)")
            #expect(crowd.answers == 1000)
            #expect(try await deployment.counter("fault") > 0)
            #expect(try await deployment.counter("partial_params") == 0)
            #expect(try await deployment.counter("transfer_failed") == 0)
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "No request is lost when a prefill server dies under load, and it gets requests again when it is back",
        arguments: [Disaggregated.Connector.nixlv2, .sglang],
        Disaggregated.Mode.allCases
    )
    func prefillDies(_ connector: Disaggregated.Connector, _ mode: Disaggregated.Mode) async throws {
        var plan = Disaggregated.Plan(connector, mode)
        plan.simulator = ["--time-to-first-token", "5ms", "--inter-token-latency", "1ms"]
        plan.orchestration += ["breaker: {failures: 3, openFor: 1s}"]
        try await withDisaggregated(plan) { deployment in
            let victim = deployment.prefills.lowerBound
            var death = ContinuousClock.now
            let start = ContinuousClock.now
            let crowd = try await Crowd.during(deployment, clients: 50) { crowd in
                try await deployment.wait("prefill", 50, server: victim)
                death = ContinuousClock.now
                try await deployment.control("POST", "/sim/stop?server=\(victim)")
                let answers = crowd.answers
                try await eventually("the others serve") { crowd.answers > answers + 400 }
                let prefills = try await deployment.counter("prefill", server: victim)
                try await deployment.control("POST", "/sim/start?server=\(victim)")
                try await deployment.wait("prefill", prefills + 20, server: victim)
            }
            #expect(crowd.failures == [], "\(crowd.failures.count) of \(crowd.answers)")
            try await deployment.waitUntilIdle()
            let before = crowd.percentile(from: start, for: start.duration(to: death))
            let after = (0..<4).map { crowd.percentile(from: death + .milliseconds(500 * $0), for: .milliseconds(500)) }
            print("p99 before the death \(before) ms, in the half seconds after it \(after) ms")
        }
    }

    @Test("The mode may be changed under load, and no request is lost")
    func reload() async throws {
        try await withDisaggregated(Disaggregated.Plan(.nixlv2, .handoff)) { deployment in
            let crowd = try await Crowd.during(deployment, clients: 20) { crowd in
                for mode in [Disaggregated.Mode.relay, .handoff, .relay, .handoff] {
                    try await deployment.reconfigure { $0.mode = mode }
                    let answers = crowd.answers
                    try await eventually("requests are served") { crowd.answers > answers + 60 }
                }
            }
            #expect(crowd.failures == [], "\(crowd.failures.count) of \(crowd.answers)")
            try await deployment.waitUntilIdle()
        }
    }
}
