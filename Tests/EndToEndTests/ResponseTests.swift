import Foundation
import TestSupport
import Testing

@Suite("Responses through Envoy", .serialized, .showsLogs)
struct ResponseTests {
    private static let slow = ["--time-to-first-token", "20ms", "--inter-token-latency", "100ms"]

    @Test("When the pick is dead, load and prompt go to the endpoint that Envoy chose instead")
    func servedElsewhere() async throws {
        var plan = Deployment.Plan(gateway: .overrideHost, servers: 2, killable: true, simulator: Self.slow)
        plan.apus = ["--refresh-metrics-interval=10s", "--metrics-staleness-threshold=60s"]
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let prompt = (0..<600).map { "word\($0)" }.joined(separator: " ")
            let first = try await deployment.send(Ask.completion(prompt, tokens: 1))
            let home = try await deployment.arrival(first.id).server
            let other = try #require(deployment.servers.first { $0.port != home.port })
            // For some seconds Apus will not notice by itself that the server is gone.
            try await eventually("the server was scraped just now") {
                try await deployment.apus.endpoints()[home.port]?["scrape"]["ageSeconds"].double ?? 60 < 1
            }
            try await home.process.kill()

            let id = UUID().uuidString
            let request = Ask.completion(prompt, stream: true, tokens: 30, headers: [("x-request-id", id)])
            async let answer = deployment.client.send(request)
            try await eventually("the load is where the request is served") {
                let endpoints = try await deployment.apus.endpoints()
                return endpoints[other.port]?["inFlight"]["requests"].int == 1
                    && endpoints[home.port]?["inFlight"]["requests"].int == 0
            }
            let response = try await answer
            #expect(response.status == 200)
            #expect(response.events.last == "[DONE]")
            #expect(try await deployment.apus.picked(id) == [home.port])
            #expect(try await deployment.apus.accessLine(id)["endpoint"].string == "127.0.0.1:\(other.port)")
            try await deployment.apus.waitUntilIdle()

            // Now the server that is known to answer is picked, and is known to hold the prompt.
            let next = try await deployment.send(Ask.completion(prompt, tokens: 1))
            #expect(try await deployment.apus.picked(next.id) == [other.port])
            let candidates = try await deployment.apus.decision(next.id)["profiles"][0]["candidates"].array
            let score = candidates.first { $0["endpoint"].string == "127.0.0.1:\(other.port)" }
            #expect(score?["scores"]["prefill-cost-scorer"].double == 1)
        }
    }

    // MARK: How much of a response is processed

    private func plan(_ processing: String, request: String, response: String, override: Bool) throws -> Deployment.Plan
    {
        var plan = Deployment.Plan(servers: 2, simulator: Self.slow)
        plan.apus = [
            """
            --config-text=apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins: [{type: queue-scorer}]
            responseProcessing: \(processing)
            """
        ]
        plan.envoy = { text, _ in
            text.replacing("request_body_mode: FULL_DUPLEX_STREAMED", with: "request_body_mode: \(request)")
                .replacing("response_body_mode: FULL_DUPLEX_STREAMED", with: "response_body_mode: \(response)")
                .replacing(
                    "message_timeout: 1000s",
                    with: "message_timeout: 1000s\n              allow_mode_override: \(override)"
                )
        }
        return plan
    }

    /// Streams a response and says what Apus tells of it, and whether its load was there while it went on.
    private func stream(_ deployment: Deployment, tokens: Int = 20) async throws -> (line: JSON, wasHeld: Bool) {
        let id = UUID().uuidString
        let request = Ask.completion(stream: true, tokens: tokens, headers: [("x-request-id", id)])
        let finished = Task { try await deployment.client.send(request) }
        try await eventually("the server generates") {
            guard let arrived = try? await deployment.arrival(id).request else { return false }
            return arrived["status"].string != nil
        }
        try await Task.sleep(for: .milliseconds(300))
        let wasHeld = try await deployment.apus.requestsInFlight() == 1
        let response = try await finished.value
        #expect(response.status == 200)
        #expect(response["x-went-into-resp-headers"] == "true")
        #expect(response.events.last == "[DONE]")
        #expect(try response.usage["completion_tokens"].int == tokens)
        let line = try await deployment.apus.accessLine(id)
        try await deployment.apus.waitUntilIdle()
        return (line, wasHeld)
    }

    @Test("Where the filter allows it, Envoy keeps response bodies to itself, and the load stays to the response's end")
    func headersOnly() async throws {
        let plan = try plan("headers", request: "BUFFERED", response: "STREAMED", override: true)
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let (line, wasHeld) = try await stream(deployment)
            #expect(wasHeld)
            #expect(line["model"].string == Simulators.model)
            #expect(line["status"].int == 200)
            #expect(line["responseBytes"].int == 0)
            #expect(line["termination"].string == "unobserved")
        }
    }

    @Test(
        "Where the filter does not allow it, or sends bodies in full duplex, responses are followed to their end",
        arguments: [false, true]
    )
    func notAllowed(isDuplex: Bool) async throws {
        let plan =
            isDuplex
            ? try plan("headers", request: "FULL_DUPLEX_STREAMED", response: "FULL_DUPLEX_STREAMED", override: true)
            : try plan("headers", request: "BUFFERED", response: "STREAMED", override: false)
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let (line, wasHeld) = try await stream(deployment)
            #expect(wasHeld)
            #expect(line["completionTokens"].int == 20)
            #expect(line["termination"].string == "complete")
        }
    }

    @Test("The end of a long stream tells its usage when only that is read")
    func tail() async throws {
        let plan = try plan("tail", request: "FULL_DUPLEX_STREAMED", response: "FULL_DUPLEX_STREAMED", override: false)
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let (line, _) = try await stream(deployment, tokens: 40)
            #expect(line["completionTokens"].int == 40)
            #expect(line["promptTokens"].int ?? 0 > 0)
            #expect(try await deployment.apus.metric("llm_d_epp_request_streaming_itl_seconds_count") ?? 0 > 10)
        }
    }
}
