import TestSupport
import Testing

@Suite("What may go wrong with a prefill, with every connector, in both modes", .serialized, .showsLogs)
struct OrchestrationMatrixTests {
    /// A connector, in one of the modes.
    struct Way: Sendable, CustomTestStringConvertible {
        let connector: Disaggregated.Connector
        let mode: Disaggregated.Mode
        var testDescription: String { "\(connector.rawValue) in \(mode.rawValue)" }

        static let all = Disaggregated.Connector.allCases.flatMap { connector in
            Disaggregated.Mode.allCases.map { Way(connector: connector, mode: $0) }
        }
    }

    /// The first attempt fails so, and another endpoint does better.
    private static let retried = [
        "500", "502", "503", "504", "408", "429", "close", "reset", "eof-body", "reset-body", "hang", "hang-body",
        "error-200",
        "truncated-json", "huge-body", "endless-headers", "garbage", "deep-json", "duplicate-members",
    ]
    /// The same, where the answer of a prefill holds what the decode needs.
    private static let badParameters = ["kv-missing", "kv-null", "kv-malformed", "kv-array", "kv-partial", "kv-empty"]
    /// Of those, the ones that spoil no more than the answer of a prefill that was made.
    private static let mayComeTooLate: Set = [
        "eof-body", "reset-body", "hang-body", "error-200", "truncated-json", "deep-json", "duplicate-members",
    ]
    /// The client's own fault.
    private static let refused = [400, 401, 404, 413, 422]

    @Test("A failed prefill is made good elsewhere, and the client notices nothing", arguments: Way.all)
    func prefillFails(_ way: Way) async throws {
        var plan = Disaggregated.Plan(way.connector, way.mode).withoutBreakers()
        plan.orchestration += ["attemptTimeout: 2s"]
        try await withDisaggregated(plan) { deployment in
            var faults = Self.retried
            if way.connector == .nixlv2 || way.connector == .trtllm { faults += Self.badParameters }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for fault in faults {
                    for stream in [false, true] {
                        group.addTask { try await Self.retries(fault, stream: stream, deployment) }
                    }
                }
                for status in Self.refused {
                    for stream in [false, true] {
                        group.addTask { try await Self.refuses(status, stream: stream, deployment) }
                    }
                }
                try await group.waitForAll()
            }
            try await deployment.waitUntilIdle()
            // Nothing incomplete, changed or used before has reached an engine.
            for counter in ["partial_params", "altered", "transfer_failed", "local_fallback"] {
                #expect(try await deployment.counter(counter) == 0, "\(counter)")
            }
            try await Self.survivesCrashes(deployment)
            #expect(try await deployment.event("exhausted") == 0)
            #expect(try await deployment.event("spent_twice") == 0)
        }
    }

    private static func request(stream: Bool) -> TestRequest {
        stream ? Ask.chat("Tell me more", stream: true) : Ask.completion("Tell me more")
    }

    private static func retries(_ fault: String, stream: Bool, _ deployment: Disaggregated) async throws {
        let what = Comment(rawValue: "\(fault), \(stream ? "streaming" : "plain")")
        let (id, response) = try await deployment.send(request(stream: stream), fault: "prefill-\(fault),attempt=1")
        let legs = try await deployment.legs(of: id)
        let seen = Comment(rawValue: "\(what): \(response.status) \(response.text.prefix(300)); \(legs)")
        #expect(response.status == 200, seen)
        #expect(try response.usage["completion_tokens"].int == 5, seen)
        let prefills = SimulatedLeg.withoutResent(legs.filter { $0.kind == "prefill" })
        #expect(response["x-apus-attempts"] == "\(prefills.count)", seen)
        #expect(prefills.first?.fault != nil, seen)
        let finished = legs.filter {
            $0.kind != "prefill" && $0.status == "finished" && $0.json["finish_reason"].string != "abort"
        }
        if deployment.plan.connector.isSerial || !mayComeTooLate.contains(fault) {
            #expect(prefills.map(\.attempt) == [1, 2], seen)
            #expect(Set(prefills.map(\.server)).count == 2, seen)
            #expect(finished.count == 1, seen)
        } else {
            // The prompt was computed, and its decode may have been served before the prefill's own answer was missed.
            #expect(prefills.count <= 2, seen)
            #expect(finished.count <= prefills.count, seen)
        }
        if deployment.plan.connector.isSerial { #expect(legs.count { $0.kind != "prefill" } == 1, seen) }
    }

    /// One server after the other dies of a request, until one is left.
    private static func survivesCrashes(_ deployment: Disaggregated) async throws {
        for fault in ["prefill-crash,attempt=1", "prefill-crash,attempt=1", "prefill-503=0"] {
            for stream in [false, true] {
                let (id, response) = try await deployment.send(
                    request(stream: stream),
                    fault: stream ? "prefill-503=0" : fault
                )
                let legs = try await deployment.legs(of: id)
                let seen = Comment(rawValue: "\(fault): \(response.status) \(response.text.prefix(300)); \(legs)")
                #expect(response.status == 200, seen)
                #expect(try response.usage["completion_tokens"].int == 5, seen)
            }
        }
        try await deployment.waitUntilIdle()
        for server in deployment.prefills { try await deployment.control("POST", "/sim/start?server=\(server)") }
    }

    private static func refuses(_ status: Int, stream: Bool, _ deployment: Disaggregated) async throws {
        let (id, response) = try await deployment.send(request(stream: stream), fault: "prefill-\(status)")
        let legs = try await deployment.legs(of: id)
        let seen = Comment(rawValue: "\(status): \(response.status) \(response.text.prefix(300)); \(legs)")
        #expect(response.status == status, seen)
        #expect(response.text.contains("A fault that was asked for: \(status)"), seen)
        #expect(response["x-apus-attempts"] == "1", seen)
        #expect(legs.filter { $0.kind == "prefill" }.count == 1, seen)
        if deployment.plan.connector.isSerial { #expect(legs.count == 1, seen) }
        // A decode that was sent beside it may have begun its answer, and was called off.
        #expect(
            !legs.contains {
                $0.kind != "prefill" && $0.status == "finished" && $0.json["finish_reason"].string != "abort"
            },
            seen
        )
    }
}
