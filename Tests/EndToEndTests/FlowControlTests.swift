import TestSupport
import Testing

@Suite("Flow control through Envoy", .serialized, .showsLogs)
struct FlowControlTests {
    /// One server that takes one request at a time.
    private static func plan(_ flowControl: String) -> Deployment.Plan {
        var plan = Deployment.Plan(servers: 1)
        plan.apus = [
            """
            --config-text=apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            featureGates: [flowControl]
            plugins:
            - {type: queue-scorer}
            - {type: concurrency-detector, parameters: {maxConcurrency: 1}}
            flowControl: {saturationDetector: {pluginRef: concurrency-detector}, \(flowControl)}
            """
        ]
        return plan
    }

    private static let queueSize = "llm_d_epp_flow_control_queue_size"

    /// Sends a request whose client may hang up before it is answered.
    private func begin(_ deployment: Deployment, _ prompt: String) async throws -> Socket {
        let body = Ask.completionBody(prompt)
        let socket = try await Socket.connect(port: deployment.client.port)
        let head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        try await socket.write((head + "content-length: \(body.utf8.count)\r\n\r\n" + body).utf8)
        return socket
    }

    /// Begins a request that the server does not answer.
    private func occupy(_ deployment: Deployment) async throws -> Socket {
        try await deployment.apus.waitUntilFresh()
        try await deployment.servers[0].configure(#"{"hang": true}"#)
        let stream = try await begin(deployment, "The first")
        try await eventually("the first request is in flight") { try await deployment.apus.requestsInFlight() == 1 }
        return stream
    }

    private func waitUntil(_ deployment: Deployment, waiting count: Double) async throws {
        try await eventually("\(count) requests wait", within: .seconds(20)) {
            try await deployment.apus.metric(Self.queueSize) ?? 0 == count
        }
    }

    @Test("A request waits while the pool is full, the next is 429, and who hangs up makes room at once")
    func waits() async throws {
        let plan = Self.plan("defaultRequestTTL: 10m, defaultPriorityBand: {maxRequests: 1}")
        try await withDeployment(plan) { deployment in
            let first = try await occupy(deployment)

            let impatient = try await begin(deployment, "The impatient")
            try await waitUntil(deployment, waiting: 1)
            let refused = try await deployment.client.send(Ask.completion("One too many"))
            #expect(refused.status == 429)
            #expect(
                refused.text == "inference error: ResourceExhausted - request rejected pre-queue: queue at capacity"
            )
            #expect(refused["x-llm-d-request-dropped-reason"] == "rejected-saturated")
            #expect(refused["retry-after"] == "1")
            impatient.hangUp()
            try await waitUntil(deployment, waiting: 0)

            let second = Task { try await deployment.send(Ask.completion("The second")) }
            try await waitUntil(deployment, waiting: 1)
            try await deployment.servers[0].configure(#"{"hang": false}"#)
            first.hangUp()
            let (id, response) = try await second.value
            #expect(response.status == 200)
            #expect(try await deployment.apus.accessLine(id)["queueMs"].double ?? 0 > 0)
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("Who waits for too long gets 503")
    func timeToLive() async throws {
        try await withDeployment(Self.plan("defaultRequestTTL: 300ms")) { deployment in
            let first = try await occupy(deployment)
            let page = try await JSON(text: deployment.apus.page("/debug/config").text)["flowControl"]
            #expect(page["defaultPriorityBand"]["maxRequests"].int == 5_000)
            let late = try await deployment.client.send(Ask.completion("The second"))
            #expect(late.status == 503)
            #expect(late.text.hasPrefix("inference error: ServiceUnavailable - request timed out in queue: "))
            #expect(late["x-llm-d-request-dropped-reason"] == "rejected-ttl-expired")
            #expect(late["retry-after"] != nil)
            first.hangUp()
            try await deployment.apus.waitUntilIdle()
        }
    }
}
