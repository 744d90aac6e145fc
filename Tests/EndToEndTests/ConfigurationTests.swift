import Foundation
import TestSupport
import Testing

@Suite("Configured deployments", .serialized, .showsLogs)
struct ConfiguredTests {
    /// Endpoints come from a file in the deployment's directory.
    private static func fileDiscovery(_ configuration: String, initially: @escaping @Sendable ([Int]) -> [Int])
        -> Deployment.Plan
    {
        var plan = Deployment.Plan()
        plan.endpoints = { ports, directory in
            let file = try directory.write(endpoints(initially(ports)), to: "endpoints.yaml")
            let text = configuration.replacing("@FILE@", with: file)
            return ["--config-file=" + (try directory.write(text, to: "config.yaml"))]
        }
        return plan
    }

    private static func endpoints(_ ports: [Int]) -> String {
        if ports.isEmpty { return "endpoints: []\n" }
        return "endpoints:\n"
            + ports.map {
                "- {name: server-\($0), namespace: models, address: 127.0.0.1, port: \($0), labels: {zone: \"\($0)\"}}\n"
            }.joined()
    }

    private static let discovery = """
        apiVersion: llm-d.ai/v1alpha1
        kind: EndpointPickerConfig
        plugins:
        - type: file-discovery
          parameters: {path: "@FILE@", watchFile: true}
        dataLayer: {discovery: {pluginRef: file-discovery}}

        """

    private func ports(_ deployment: Deployment, count: Int = 10) async throws -> Set<Int> {
        var ports: Set<Int> = []
        for number in 0..<count {
            let (id, response) = try await deployment.send(Ask.completion("Number \(number)"))
            #expect(response.status == 200)
            ports.insert(try await deployment.arrival(id).server.port)
        }
        return ports
    }

    @Test(
        "Endpoints that are added to and removed from the watched file get requests, or get none; a broken file changes nothing"
    )
    func watchedFile() async throws {
        try await withDeployment(Self.fileDiscovery(Self.discovery) { [$0[0]] }) { deployment in
            let all = deployment.servers.map(\.port)
            let apus = deployment.apus
            try await apus.waitUntilFresh()
            #expect(try await ports(deployment) == [all[0]])

            try deployment.directory.write(Self.endpoints([all[1], all[2]]), to: "endpoints.yaml")
            try await eventually("the new endpoints are known") {
                try await apus.endpoints().keys.sorted() == [all[1], all[2]].sorted()
            }
            try await apus.waitUntilFresh()
            #expect(try await ports(deployment, count: 40) == [all[1], all[2]])
            let endpoint = try #require(try await apus.endpoints()[all[1]])
            #expect(endpoint["name"].string == "server-\(all[1])")
            #expect(endpoint["namespace"].string == "models")
            #expect(endpoint["labels"]["zone"].string == "\(all[1])")

            try deployment.directory.write("endpoints: [{name: a, addr: 1}]\n", to: "endpoints.yaml")
            _ = try await apus.process.waitForLine(containing: "endpoints file not used: ")
            #expect(try await ports(deployment, count: 40) == [all[1], all[2]])

            try deployment.directory.write(Self.endpoints([all[2]]), to: "endpoints.yaml")
            try await eventually("one is left") { try await apus.endpoints().count == 1 }
            #expect(try await ports(deployment) == [all[2]])
        }
    }

    @Test("Without any endpoint Apus answers 503 itself, says why, and is ready all the same")
    func noEndpoints() async throws {
        try await withDeployment(Self.fileDiscovery(Self.discovery) { _ in [] }) { deployment in
            #expect(try await deployment.apus.page("/readyz").status == 200)
            for request in [Ask.completion(), Ask.chat(stream: true), TestRequest("GET", "/v1/models")] {
                let (id, response) = try await deployment.send(request)
                #expect(response.status == 503)
                #expect(
                    response.text == "inference error: ServiceUnavailable - "
                        + "failed to find endpoint candidates for serving the request"
                )
                #expect(response["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints")
                #expect(try await deployment.apus.accessLine(id)["termination"].string == "immediate:503")
            }
        }
    }

    private static let several = """
        apiVersion: llm-d.ai/v1alpha1
        kind: EndpointPickerConfig
        plugins:
        - type: lora-affinity-scorer
        - type: running-requests-size-scorer
        - type: token-load-scorer
          parameters: {queueThresholdTokens: 1000}
        - type: max-score-picker
          parameters: {maxNumOfEndpoints: 2}
        - type: single-profile-handler
        schedulingProfiles:
        - name: default
          plugins:
          - {pluginRef: lora-affinity-scorer, weight: 10}
          - {pluginRef: running-requests-size-scorer, weight: 1}
          - {pluginRef: token-load-scorer, weight: 1}
          - {pluginRef: max-score-picker}

        """

    @Test("Configured scorers decide, and a list of endpoints goes out when so many are wanted")
    func configuredScorers() async throws {
        var plan = Deployment.Plan(gateway: .overrideHost)
        plan.simulator = ["--lora-modules", "adapter", "other", "--max-loras", "2"]
        plan.apus = ["--config-text=\(Self.several)", "--emit-endpoint-scores"]
        try await withDeployment(plan) { deployment in
            let apus = deployment.apus
            let names = ["adapter", "other", "adapter,other"]
            for (index, server) in deployment.servers.enumerated() {
                let adapters = #"[{"running": "\#(index == 1 ? "adapter" : names[1])", "waiting": "", "timestamp": 1}]"#
                let running = index == 1 ? 9 : index
                try await server.configure(
                    #"{"fake-metrics": {"running-requests": \#(running), "waiting-requests": 0, "loras": \#(adapters)}}"#
                )
                try await apus.wait(for: "runningRequests", of: server.port, toBe: Double(running))
                try await eventually("adapters") {
                    try await apus.endpoints()[server.port]?["metrics"]["activeModels"].array.isEmpty == false
                }
            }
            let ports = deployment.servers.map(\.port)
            // The adapter is loaded on the second server; of the others, the first has less to do.
            let (id, response) = try await deployment.send(Ask.completion(model: "adapter"))
            #expect(response.status == 200)
            let arrived = try await deployment.arrival(id)
            #expect(arrived.server.port == ports[1])
            #expect(
                arrived.request.header("x-gateway-destination-endpoint") == [
                    "127.0.0.1:\(ports[1]),127.0.0.1:\(ports[0])"
                ]
            )
            #expect(try await apus.picked(id) == [ports[1], ports[0]])
            let scores = try await apus.accessLine(id)["scores"]
            #expect(scores["lora-affinity-scorer"].double == 1)
            #expect(scores["running-requests-size-scorer"].double == 0)
            #expect(scores["token-load-scorer"].double == 1)
        }
    }

    @Test("When the first endpoint of the list is gone, the second one of the list answers")
    func secondOfList() async throws {
        var plan = Deployment.Plan(gateway: .overrideHost, servers: 4, killable: true)
        plan.apus = [
            "--config-text=\(Self.several)", "--refresh-metrics-interval=60s", "--metrics-staleness-threshold=600s",
        ]
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            try await deployment.simulators[2].kill()
            var retried = 0
            // Apus does not know yet, for the next scrape is far; every other request or so names the dead server first.
            for number in 0..<40 {
                let (id, response) = try await deployment.send(Ask.completion("Number \(number)"))
                #expect(response.status == 200)
                let picked = try await deployment.apus.picked(id)
                #expect(picked.count == 2)
                let expected = picked[0] == deployment.servers[2].port ? picked[1] : picked[0]
                #expect(response["x-inference-port"] == "\(expected)")
                if picked[0] == deployment.servers[2].port { retried += 1 }
            }
            #expect(retried > 0)
        }
    }

    @Test("The passthrough parser sends on whatever comes")
    func passthrough() async throws {
        let text = """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - type: passthrough-parser
            - type: queue-scorer
            requestHandler: {parsers: [{pluginRef: passthrough-parser}]}
            schedulingProfiles: [{name: default, plugins: [{pluginRef: queue-scorer}]}]
            """
        try await withDeployment(.init(apus: ["--config-text=\(text)"])) { deployment in
            let (id, response) = try await deployment.send(.post("/v1/completions", json: "no JSON"))
            // The model server's own words.
            #expect(response.status == 400)
            #expect(response.text.contains("The body is not JSON"))
            #expect(try await deployment.arrival(id).request["body"].string == "no JSON")
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
        }
    }

    @Test("An endpoint that names no engine is read as the default one, which may be one that the file describes")
    func defaultEngine() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.apus = [
            """
            --config-text=apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - type: queue-scorer
            - type: metrics-data-source
            - type: core-metrics-extractor
              parameters:
                defaultEngine: crossed
                engineConfigs:
                - {name: crossed, queuedRequestsSpec: "vllm:num_requests_running", runningRequestsSpec: "vllm:num_requests_waiting"}
            dataLayer:
              sources: [{pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}]
            """
        ]
        try await withDeployment(plan) { deployment in
            try await deployment.servers[0].configure(
                #"{"fake-metrics": {"waiting-requests": 3, "running-requests": 8}}"#
            )
            let port = deployment.servers[0].port
            try await deployment.apus.wait(for: "waitingQueueSize", of: port, toBe: 8)
            try await deployment.apus.wait(for: "runningRequests", of: port, toBe: 3)
            let page = try await JSON(text: deployment.apus.page("/debug/config").text)
            #expect(page["metricsExtractor"]["defaultEngine"].string == "crossed")
        }
    }

    @Test("A page on which nothing can be read is counted as such, and /debug/config shows what plugins go by")
    func unreadablePage() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.apus = [
            """
            --config-text=apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - {type: token-load-scorer, parameters: {queueThresholdTokens: 1000}}
            - {type: metrics-data-source, parameters: {path: /health}}
            """
        ]
        try await withDeployment(plan) { deployment in
            let name = "llm_d_epp_datalayer_extract_errors_total"
            let labels = #"{extractor_type="core-metrics-extractor",source_type="metrics-data-source"}"#
            try await eventually("the page is counted") { try await deployment.apus.metrics()[name + labels] ?? 0 > 0 }
            #expect(try await deployment.apus.metric("process_open_fds") ?? 0 > 3)
            let profile = try await JSON(text: deployment.apus.page("/debug/config").text)["schedulingProfiles"][0]
            #expect(profile["scorers"][0]["parameters"]["queueThresholdTokens"].int == 1_000)
            #expect(profile["picker"]["parameters"]["maxNumOfEndpoints"].int == 1)
        }
    }
}
