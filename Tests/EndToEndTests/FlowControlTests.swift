import TestSupport
import Testing

@Suite("Flow control through Envoy", .serialized, .showsLogs)
struct FlowControlTests {
    private static func configuration(_ flowControl: String) -> String {
        """
        apiVersion: llm-d.ai/v1alpha1
        kind: EndpointPickerConfig
        featureGates: [flowControl]
        plugins:
        - {type: queue-scorer}
        - {type: round-robin-fairness-policy}
        - {type: concurrency-detector, parameters: {maxConcurrency: 1}}
        flowControl: {saturationDetector: {pluginRef: concurrency-detector}, \(flowControl)}
        objectives:
        - {name: urgent, priority: 10}
        - {name: batch, priority: -1}
        """
    }

    /// One server that takes one request at a time.
    private static func plan(_ flowControl: String) -> Deployment.Plan {
        var plan = Deployment.Plan(servers: 1)
        plan.apus = ["--config-text=" + configuration(flowControl)]
        return plan
    }

    private static let queueSize = "llm_d_epp_flow_control_queue_size"

    /// Sends a request whose client may hang up before it is answered.
    private func begin(
        _ deployment: Deployment,
        _ prompt: String,
        objective: String = ""
    ) async throws -> Socket {
        let body = Ask.completionBody(prompt)
        let socket = try await Socket.connect(port: deployment.client.port)
        let head =
            "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
            + "x-llm-d-inference-objective: \(objective)\r\n"
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

    /// Sends a request that will wait, and returns once it does.
    private func enqueue(
        _ deployment: Deployment,
        _ number: Double,
        objective: String = "",
        flow: String = "someone"
    ) async throws -> Task<(id: String, response: TestResponse), any Error> {
        let headers = [("x-llm-d-inference-objective", objective), ("x-llm-d-inference-fairness-id", flow)]
        let request = Task { try await deployment.send(Ask.completion("Waiting \(number)", headers: headers)) }
        try await waitUntil(deployment, waiting: number)
        return request
    }

    /// Frees the pool, waits for the answers, and says in which order the requests arrived at the server, as their places in `requests`.
    private func order(
        _ deployment: Deployment,
        _ first: Socket,
        _ requests: [Task<(id: String, response: TestResponse), any Error>]
    ) async throws -> [Int] {
        try await deployment.servers[0].configure(#"{"hang": false}"#)
        first.hangUp()
        var places: [String: Int] = [:]
        for (place, request) in requests.enumerated() {
            let (id, response) = try await request.value
            #expect(response.status == 200)
            places[id] = place
        }
        try await deployment.apus.waitUntilIdle()
        return try await deployment.servers[0].requests().compactMap { $0["id"].string.flatMap { places[$0] } }
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

    @Test("The highest priority goes first, then who came first; a sheddable request goes last")
    func priorities() async throws {
        try await withDeployment(Self.plan("defaultRequestTTL: 10m")) { deployment in
            let first = try await occupy(deployment)
            let requests = [
                try await enqueue(deployment, 1, objective: "batch"), try await enqueue(deployment, 2),
                try await enqueue(deployment, 3, objective: "urgent"), try await enqueue(deployment, 4),
                try await enqueue(deployment, 5, objective: "urgent"),
            ]
            #expect(try await order(deployment, first, requests) == [2, 4, 1, 3, 0])
            let line = try await deployment.apus.accessLine(requests[0].value.id)
            #expect(line["priority"].int == -1)
        }
    }

    @Test("Two flows take turns, however many requests one of them has waiting")
    func fairness() async throws {
        let plan = Self.plan(
            "defaultRequestTTL: 10m, defaultPriorityBand: {fairnessPolicyRef: round-robin-fairness-policy}"
        )
        try await withDeployment(plan) { deployment in
            let first = try await occupy(deployment)
            let requests = [
                try await enqueue(deployment, 1, flow: "greedy"), try await enqueue(deployment, 2, flow: "greedy"),
                try await enqueue(deployment, 3, flow: "greedy"), try await enqueue(deployment, 4, flow: "modest"),
                try await enqueue(deployment, 5, flow: "modest"),
            ]
            #expect(try await order(deployment, first, requests) == [0, 3, 1, 4, 2])
        }
    }

    @Test("In a full queue a sheddable request gives its place to an urgent one")
    func displaced() async throws {
        try await withDeployment(Self.plan("defaultRequestTTL: 10m, maxRequests: 1")) { deployment in
            let first = try await occupy(deployment)
            let batch = try await enqueue(deployment, 1, objective: "batch")
            let headers = [("x-llm-d-inference-objective", "urgent")]
            let urgent = Task { try await deployment.send(Ask.completion("The urgent", headers: headers)) }
            let refused = try await batch.value.response
            #expect(refused.status == 429)
            #expect(refused["x-llm-d-request-dropped-reason"] == "evicted-queue-pressure")
            #expect(refused["retry-after"] != nil)
            #expect(try await order(deployment, first, [urgent]) == [0])
        }
    }

    @Test("A sheddable request that is with the server is called back for an urgent one")
    func calledBack() async throws {
        try await withDeployment(Self.plan("defaultRequestTTL: 10m, enableEviction: true")) { deployment in
            try await deployment.apus.waitUntilFresh()
            try await deployment.servers[0].configure(#"{"hang": true}"#)
            let headers = [("x-llm-d-inference-objective", "batch")]
            let batch = Task { try await deployment.send(Ask.completion("The batch", headers: headers)) }
            try await eventually("the server has it") { try await deployment.servers[0].requests().count == 1 }
            try await deployment.servers[0].configure(#"{"hang": false}"#)
            let urgent = Task {
                try await deployment.send(Ask.completion("Now", headers: [("x-llm-d-inference-objective", "urgent")]))
            }
            let refused = try await batch.value.response
            #expect(refused.status == 429)
            #expect(refused.text == "inference error: ResourceExhausted - request evicted by flow control")
            #expect(refused["x-llm-d-request-dropped-reason"] == "evicted")
            #expect(try await urgent.value.response.status == 200)
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("Without flow control a saturated pool drops what is sheddable and nothing else")
    func sheddable() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.apus = [
            """
            --config-text=apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - {type: queue-scorer}
            - {type: concurrency-detector, parameters: {maxConcurrency: 1}}
            objectives: [{name: batch, priority: -1}]
            """
        ]
        try await withDeployment(plan) { deployment in
            let first = try await occupy(deployment)
            let batch = Ask.completion(headers: [("x-gateway-inference-objective", "batch")])
            let refused = try await deployment.client.send(batch)
            #expect(refused.status == 429)
            #expect(
                refused.text == "inference error: ResourceExhausted - system saturated, sheddable request dropped"
            )
            #expect(refused["x-llm-d-request-dropped-reason"] == "rejected-saturated")
            #expect(refused["retry-after"] != nil)
            try await deployment.servers[0].configure(#"{"hang": false}"#)
            #expect(try await deployment.client.send(Ask.completion()).status == 200)
            first.hangUp()
            try await deployment.apus.waitUntilIdle()
            #expect(try await deployment.client.send(batch).status == 200)
        }
    }

    @Test("A pool without endpoints: who waits goes to the first that appears; for whom none does gets 503")
    func emptyPool() async throws {
        var plan = Self.plan("")
        plan.apus = []
        plan.endpoints = { ports, directory in
            let list = try directory.write("endpoints: []", to: "endpoints.yaml")
            let configuration = """
                apiVersion: llm-d.ai/v1alpha1
                kind: EndpointPickerConfig
                featureGates: [flowControl]
                plugins:
                - {type: queue-scorer}
                - {type: concurrency-detector}
                - {type: file-discovery, parameters: {path: \(list), watchFile: true}}
                flowControl:
                  saturationDetector: {pluginRef: concurrency-detector}
                  noEndpointRequestTTL: \(ports.isEmpty ? "300ms" : "10m")
                """
            return ["--config-text=" + configuration]
        }
        try await withDeployment(plan) { deployment in
            let request = try await enqueue(deployment, 1)
            let endpoint = "{name: a, namespace: b, address: 127.0.0.1, port: \(deployment.servers[0].port)}"
            _ = try deployment.directory.write("endpoints: [\(endpoint)]", to: "endpoints.yaml")
            #expect(try await request.value.response.status == 200)
        }
        plan.servers = 0
        try await withDeployment(plan) { deployment in
            let refused = try await deployment.client.send(Ask.completion())
            #expect(refused.status == 503)
            #expect(refused["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints")
            #expect(refused["retry-after"] != nil)
        }
    }
}
