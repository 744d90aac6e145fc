import TestSupport
import Testing

@Suite("Orchestration in every processing mode of the gateway", .serialized, .showsLogs)
struct OrchestrationModesTests {
    enum BodyMode: String, CaseIterable, Sendable {
        case duplex = "FULL_DUPLEX_STREAMED"
        case streamed = "STREAMED"
        case buffered = "BUFFERED"
        case bufferedPartial = "BUFFERED_PARTIAL"
        case none = "NONE"

        /// Whether Apus sees the whole of a short body before it has to decide.
        var showsBody: Bool { self == .duplex || self == .buffered || self == .bufferedPartial }
    }

    private static func plan(
        _ mode: Disaggregated.Mode,
        request: BodyMode,
        response: BodyMode
    ) -> Disaggregated.Plan {
        var plan = Disaggregated.Plan(.nixlv2, mode)
        plan.envoy = { text in
            var text = text.replacing(
                "request_body_mode: FULL_DUPLEX_STREAMED",
                with: "request_body_mode: \(request.rawValue)"
            )
            .replacing("response_body_mode: FULL_DUPLEX_STREAMED", with: "response_body_mode: \(response.rawValue)")
            if request != .duplex {
                text = text.replacing("request_trailer_mode: SEND", with: "request_trailer_mode: SKIP")
            }
            if response != .duplex {
                text = text.replacing("response_trailer_mode: SEND", with: "response_trailer_mode: SKIP")
            }
            return text
        }
        return plan
    }

    @Test(
        "A prefill runs wherever the request's body is seen before the decision; elsewhere the decode does it all",
        arguments: BodyMode.allCases,
        Disaggregated.Mode.allCases
    )
    func requestBodies(_ body: BodyMode, _ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Self.plan(mode, request: body, response: body == .duplex ? .duplex : .buffered)) {
            deployment in
            for stream in [false, true] {
                let (id, response) = try await deployment.send(Ask.chat("Tell me", stream: stream))
                let legs = try await deployment.legs(of: id)
                #expect(response.status == 200, "\(response.text) \(legs)")
                #expect(try response.usage["completion_tokens"].int == 5)
                #expect(legs.map(\.kind) == (body.showsBody ? ["prefill", "decode"] : ["monolithic"]), "\(legs)")
            }
            if body.showsBody {
                let (_, rescued) = try await deployment.send(Ask.chat("Tell me"), fault: "decode-500,attempt=1")
                #expect(rescued.status == 200, "\(rescued.text)")
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test("The answer of a decode that was handed off passes in every mode", arguments: BodyMode.allCases)
    func responseBodies(_ body: BodyMode) async throws {
        try await withDisaggregated(Self.plan(.handoff, request: .duplex, response: body)) { deployment in
            for stream in [false, true] {
                let (id, response) = try await deployment.send(Ask.chat("Tell me", stream: stream))
                let legs = try await deployment.legs(of: id)
                #expect(response.status == 200, "\(response.text) \(legs)")
                #expect(legs.map(\.kind) == ["prefill", "decode"], "\(legs)")
                #expect(try response.usage["completion_tokens"].int == 5)
            }
            let (_, rescued) = try await deployment.send(Ask.chat("Tell me"), fault: "decode-500,attempt=1")
            #expect(rescued.status == 200, "\(rescued.text)")
            try await deployment.waitUntilIdle()
        }
    }
}
