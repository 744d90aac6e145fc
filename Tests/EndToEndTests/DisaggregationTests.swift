import Foundation
import TestSupport
import Testing

@Suite("Prefill and decode behind a real gateway", .serialized, .showsLogs)
struct DisaggregationTests {
    /// The first server decodes, the others compute prompts.
    private static var plan: Deployment.Plan {
        var plan = Deployment.Plan()
        plan.endpoints = { ports, directory in
            let lines = ports.enumerated().map { index, port in
                "- {name: s\(index), namespace: n, address: 127.0.0.1, port: \(port), "
                    + "labels: {llm-d.ai/role: \(index == 0 ? "decode" : "prefill")}}\n"
            }
            let file = try directory.write("endpoints:\n" + lines.joined(), to: "endpoints.yaml")
            let text = """
                apiVersion: llm-d.ai/v1alpha1
                kind: EndpointPickerConfig
                plugins:
                - {type: file-discovery, parameters: {path: "\(file)"}}
                - type: prefill-filter
                - type: decode-filter
                - type: prefix-cache-scorer
                - type: queue-scorer
                - {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 64}}
                - {type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}
                schedulingProfiles:
                - name: prefill
                  plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer, weight: 2}, {pluginRef: queue-scorer}]
                - name: decode
                  plugins: [{pluginRef: decode-filter}, {pluginRef: prefix-cache-scorer, weight: 2}, {pluginRef: queue-scorer}]
                dataLayer: {discovery: {pluginRef: file-discovery}}
                """
            return ["--config-file=" + (try directory.write(text, to: "config.yaml"))]
        }
        return plan
    }

    @Test("The sidecar's headers arrive as the picker set them, and never as a client did")
    func headers() async throws {
        try await withDeployment(Self.plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let ports = deployment.servers.map(\.port)
            let forged = [
                ("x-prefiller-host-port", "10.9.9.9:1"), ("X-Prefiller-Host-Port", "10.9.9.9:2"),
                ("x-encoder-hosts-ports", "10.9.9.9:3"),
            ]
            for number in 0..<4 {
                let long = (0..<200).map { "prompt\(number) word\($0)" }.joined(separator: " ")
                let asked = try await deployment.send(Ask.completion(long, stream: number % 2 == 1, headers: forged))
                #expect(asked.response.status == 200)
                let arrival = try await deployment.arrival(asked.id)
                #expect(arrival.server.port == ports[0])
                let prefiller = arrival.request.header("x-prefiller-host-port")
                #expect(prefiller.count == 1)
                #expect(ports.dropFirst().contains { prefiller == ["127.0.0.1:\($0)"] })
                #expect(arrival.request.header("x-encoder-hosts-ports").isEmpty)

                let short = try await deployment.send(Ask.completion("Say \(number)", headers: forged))
                let plain = try await deployment.arrival(short.id).request
                #expect(plain.header("x-prefiller-host-port").isEmpty)
                #expect(plain.header("x-encoder-hosts-ports").isEmpty)
            }
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("A client's transfer parameters are refused before anything is picked")
    func forgedMembers() async throws {
        try await withDeployment(Self.plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let body = Ask.completionBody("hi").dropLast() + #", "kv_transfer_params": {"remote_host": "10.9.9.9"}}"#
            let response = try await deployment.send(.post("/v1/completions", json: String(body))).response
            #expect(response.status == 400)
            #expect(response.text.contains("kv_transfer_params"))
            try await deployment.apus.waitUntilIdle()
        }
    }
}
