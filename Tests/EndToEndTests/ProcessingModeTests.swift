import Bytes
import Foundation
import TestSupport
import Testing

@Suite("Other ways in which Envoy can ask", .serialized, .showsLogs)
struct ProcessingModeTests {
    enum Mode: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case none = "NONE"
        case streamed = "STREAMED"
        case buffered = "BUFFERED"
        case bufferedPartial = "BUFFERED_PARTIAL"
        var testDescription: String { rawValue }
    }

    private func plan(_ request: String, _ response: String, trailers: String = "SEND") -> Deployment.Plan {
        var plan = Deployment.Plan(servers: 2, simulator: ["--lora-modules", "adapter"])
        plan.envoy = { text, _ in
            text.replacing("request_body_mode: FULL_DUPLEX_STREAMED", with: "request_body_mode: \(request)")
                .replacing("response_body_mode: FULL_DUPLEX_STREAMED", with: "response_body_mode: \(response)")
                .replacing("request_trailer_mode: SEND", with: "request_trailer_mode: \(trailers)")
                .replacing("response_trailer_mode: SEND", with: "response_trailer_mode: \(trailers)")
                // Larger than the bodies that are buffered whole.
                .replacing("per_connection_buffer_limit_bytes: 32768", with: "per_connection_buffer_limit_bytes: 65536")
        }
        return plan
    }

    private func check(_ deployment: Deployment, _ request: TestRequest, stream: Bool) async throws -> JSON {
        let (id, response) = try await deployment.send(request)
        #expect(response.status == 200, "\(response.text)")
        #expect(response["x-went-into-resp-headers"] == "true")
        if stream { #expect(response.events.last == "[DONE]") }
        let (server, arrived) = try await deployment.arrival(id)
        #expect(try await deployment.apus.picked(id) == [server.port])
        if case .fixed(let body) = request.body, request.headers.first("x-llm-d-model-name-rewrite") == nil {
            let digits = String(XXH3.hash(body.span.bytes), radix: 16)
            #expect(arrived["body_xxh3"].string == String(repeating: "0", count: 16 - digits.count) + digits)
        }
        #expect(try response.usage["completion_tokens"].int == 5)
        return try await deployment.apus.accessLine(id)
    }

    @Test("Request bodies in each mode, small and larger than the buffer, and without a body", arguments: Mode.allCases)
    func requestBodies(mode: Mode) async throws {
        try await withDeployment(plan(mode.rawValue, "FULL_DUPLEX_STREAMED")) { deployment in
            try await deployment.apus.waitUntilFresh()
            for stream in [false, true] {
                let line = try await check(deployment, Ask.completion(stream: stream), stream: stream)
                let seesModel = mode == .buffered || mode == .bufferedPartial
                #expect(line["model"].string == (seesModel ? Simulators.model : ""))
                #expect(line["completionTokens"].int == 5)
                #expect(line["termination"].string == "complete")
            }
            let large = Ask.completion(String(repeating: "many words ", count: 30_000))
            if mode == .buffered {
                // Envoy itself refuses what does not fit into its buffer.
                #expect(try await deployment.send(large).response.status == 413)
            } else {
                let line = try await check(deployment, large, stream: false)
                #expect(line["model"].string == (mode == .bufferedPartial ? Simulators.model : ""))
            }
            #expect(try await deployment.send(TestRequest("GET", "/v1/models")).response.status == 200)
            if mode == .buffered || mode == .bufferedPartial {
                let rewrite = Ask.completion(model: "other", headers: [("x-llm-d-model-name-rewrite", "adapter")])
                let (id, response) = try await deployment.send(rewrite)
                #expect(response.status == 200, "\(response.text)")
                #expect(try JSON(text: response.text)["model"].string == "other")
                #expect(try await deployment.arrival(id).request["model"].string == "adapter")
                let bad = try await deployment.send(.post("/v1/completions", json: #"{"prompt": "x"}"#)).response
                #expect(bad.status == 400)
            }
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("Response bodies in each mode", arguments: Mode.allCases)
    func responseBodies(mode: Mode) async throws {
        try await withDeployment(plan("FULL_DUPLEX_STREAMED", mode.rawValue)) { deployment in
            try await deployment.apus.waitUntilFresh()
            for stream in [false, true] {
                let line = try await check(deployment, Ask.completion(stream: stream), stream: stream)
                #expect(line["model"].string == Simulators.model)
                #expect(line["status"].int == 200)
                #expect(line["completionTokens"].int == (mode == .none ? nil : 5))
                #expect(line["termination"].string == (mode == .none ? "unobserved" : "complete"))
            }
            if mode != .none {
                let rewrite = Ask.completion(model: "other", headers: [("x-llm-d-model-name-rewrite", "adapter")])
                let response = try await deployment.send(rewrite).response
                #expect(try JSON(text: response.text)["model"].string == "other")
            }
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("Headers alone: no bodies and no trailers either way")
    func headersAlone() async throws {
        try await withDeployment(plan("NONE", "NONE", trailers: "SKIP")) { deployment in
            try await deployment.apus.waitUntilFresh()
            let line = try await check(deployment, Ask.completion(), stream: false)
            #expect(line["termination"].string == "unobserved")
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("Observability mode: Apus watches and says nothing, and the gateway goes its own ways")
    func observability() async throws {
        var plan = Deployment.Plan(gateway: .overrideHost)
        plan.envoy = { text, _ in
            text.replacing("message_timeout: 1000s", with: "observability_mode: true")
                .replacing("FULL_DUPLEX_STREAMED", with: "STREAMED")
        }
        try await withDeployment(plan) { deployment in
            for stream in [false, true] {
                let (id, response) = try await deployment.send(Ask.completion(stream: stream))
                #expect(response.status == 200)
                #expect(response["x-went-into-resp-headers"] == nil)
                #expect(try await deployment.arrival(id).request["status"].string == "finished")
            }
            try await deployment.apus.waitUntilIdle()
            try await eventually("no stream is left") {
                try await deployment.apus.metric("apus_streams_active") == 0
            }
        }
    }
}
