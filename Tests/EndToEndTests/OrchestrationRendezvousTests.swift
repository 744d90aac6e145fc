import TestSupport
import Testing

@Suite("Prefills that fail while their decode waits for them", .serialized, .showsLogs)
struct OrchestrationRendezvousTests {
    /// One attempt, and no second.
    private static func plan(_ mode: Disaggregated.Mode) -> Disaggregated.Plan {
        var plan = Disaggregated.Plan(.sglang, mode).withoutBreakers()
        plan.orchestration += ["maxAttempts: 1", "attemptTimeout: 1s"]
        return plan
    }

    @Test(
        "When a prefill dies its client is answered at once, and the decode is told to give up",
        arguments: Disaggregated.Mode.allCases,
        [false, true]
    )
    func answersAtOnce(_ mode: Disaggregated.Mode, stream: Bool) async throws {
        try await withDisaggregated(Self.plan(mode)) { deployment in
            let ask = stream ? Ask.chat("Tell me", stream: true) : Ask.completion("Tell me")
            let (id, response) = try await deployment.send(ask, fault: "prefill-hang")
            let legs = try await deployment.legs(of: id)
            #expect(response.status == 503, "\(response.text) \(legs)")
            #expect(response.text.contains("prefill"), "\(response.text)")
            #expect(response["x-apus-attempts"] == "1")
            let decode = try #require(legs.first { $0.kind == "decode" }, "\(legs)")
            try await deployment.wait("abort_request", server: decode.server)
            try await deployment.waitUntilIdle()
            let after = try await deployment.legs(of: id)
            #expect(after.allSatisfy { $0.httpStatus != 200 || $0.json["finish_reason"].string == "abort" }, "\(after)")
        }
    }

    @Test(
        "With attempts left another pair runs the request, and the client sees one answer",
        arguments: Disaggregated.Mode.allCases,
        [false, true]
    )
    func anotherPair(_ mode: Disaggregated.Mode, stream: Bool) async throws {
        var plan = Disaggregated.Plan(.sglang, mode).withoutBreakers()
        plan.orchestration += ["attemptTimeout: 1s"]
        try await withDisaggregated(plan) { deployment in
            let ask = stream ? Ask.chat("Tell me", stream: true) : Ask.completion("Tell me")
            let (id, response) = try await deployment.send(ask, fault: "prefill-hang,attempt=1")
            let legs = try await deployment.legs(of: id)
            #expect(response.status == 200, "\(response.text) \(legs)")
            #expect(try response.usage["completion_tokens"].int == 5)
            #expect(response["x-apus-attempts"] == "2")
            let rooms = Set(legs.compactMap { $0.json["kv_id"].string })
            #expect(rooms.count == 2, "every attempt has a room of its own: \(legs)")
            try await deployment.waitUntilIdle()
        }
    }

    @Test("A response whose head has gone to the client ends broken when its prefill dies, and does not hang")
    func headHasGone() async throws {
        var plan = Self.plan(.handoff)
        plan.envoy = { text in
            text.replacing("response_body_mode: FULL_DUPLEX_STREAMED", with: "response_body_mode: STREAMED")
                .replacing("response_trailer_mode: SEND", with: "response_trailer_mode: SKIP")
        }
        try await withDisaggregated(plan) { deployment in
            let named = Disaggregated.named(Ask.chat("Tell me", stream: true), "prefill-hang")
            do {
                let response = try await deployment.client.send(named.request)
                #expect(response.status >= 500, "\(response.text)")
            } catch is TestFailure {}
            let decode = try await deployment.legs(of: named.id).first { $0.kind == "decode" }
            try await deployment.wait("abort_request", server: #require(decode).server)
            try await deployment.waitUntilIdle()
        }
    }
}
