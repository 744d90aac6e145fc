import Foundation
import TestSupport
import Testing

@Suite("A configuration that changes while requests run", .serialized, .showsLogs)
struct ReloadTests {
    private static func configuration(_ scorer: String) -> String {
        """
        apiVersion: llm-d.ai/v1alpha1
        kind: EndpointPickerConfig
        plugins:
        - type: \(scorer)
        - type: prefix-cache-scorer
        schedulingProfiles:
        - name: default
          plugins:
          - {pluginRef: \(scorer), weight: 2}
          - {pluginRef: prefix-cache-scorer, weight: 3}
        """
    }

    private static let plan = Deployment.Plan(endpoints: { ports, directory in
        [
            "--endpoints=" + ports.map { "127.0.0.1:\($0)" }.joined(separator: ","),
            "--config-file=" + (try directory.write(configuration("queue-scorer"), to: "config.yaml")),
        ]
    })

    private func scorers(_ deployment: Deployment) async throws -> [String] {
        let profiles = try await JSON(text: deployment.apus.page("/debug/config").text)["schedulingProfiles"].array
        return (profiles.first?["scorers"].array ?? []).compactMap { $0["name"].string }
    }

    @Test("A good change takes effect, a broken one changes nothing, no request fails, and prefixes are remembered")
    func reload() async throws {
        try await withDeployment(Self.plan) { deployment in
            let prompt = (0..<300).map { "word\($0)" }.joined(separator: " ")
            let first = try await deployment.send(Ask.completion(prompt))
            let home = try await deployment.arrival(first.id).server.port

            try await withThrowingTaskGroup(of: Int.self) { group in
                for client in 0..<4 {
                    group.addTask {
                        var failures = 0
                        for number in 0..<40 {
                            let (_, response) = try await deployment.send(
                                Ask.completion("client \(client) asks \(number)")
                            )
                            failures += response.status == 200 ? 0 : 1
                        }
                        return failures
                    }
                }
                _ = try deployment.directory.write(
                    Self.configuration("running-requests-size-scorer"),
                    to: "config.yaml"
                )
                try await eventually("the new scorers are in effect") {
                    try await scorers(deployment) == ["running-requests-size-scorer", "prefix-cache-scorer"]
                }
                _ = try deployment.directory.write("plugins: [", to: "config.yaml")
                try await eventually("the broken file is counted") {
                    try await deployment.apus.metric(#"apus_config_reloads_total{outcome="rejected"}"#) ?? 0 >= 1
                }
                for try await failures in group { #expect(failures == 0) }
            }
            #expect(try await scorers(deployment) == ["running-requests-size-scorer", "prefix-cache-scorer"])
            _ = try await deployment.apus.process.waitForLine(containing: "changed configuration not used")

            try await deployment.apus.waitUntilIdle()
            let again = try await deployment.send(Ask.completion(prompt + " again"))
            #expect(try await deployment.arrival(again.id).server.port == home)
        }
    }

    @Test("Objectives and rewritten models follow the file")
    func objectives() async throws {
        func configuration(_ priority: Int, _ target: String) -> String {
            """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins: [{type: queue-scorer}]
            objectives: [{name: mine, priority: \(priority)}]
            modelRewrites: [{name: alias, rules: [{matches: [{model: {value: alias}}], targets: [{modelRewrite: \(target)}]}]}]
            """
        }
        let first = configuration(3, "nobody")
        let plan = Deployment.Plan(
            servers: 1,
            endpoints: { ports, directory in
                [
                    "--endpoints=127.0.0.1:\(ports[0])",
                    "--config-file=" + (try directory.write(first, to: "config.yaml")),
                ]
            }
        )
        try await withDeployment(plan) { deployment in
            let request = Ask.completion(model: "alias", headers: [("x-llm-d-inference-objective", "mine")])
            let before = try await deployment.send(request)
            #expect(before.response.status == 404)
            #expect(try await deployment.apus.accessLine(before.id)["priority"].int == 3)
            _ = try deployment.directory.write(configuration(-3, Simulators.model), to: "config.yaml")
            try await eventually("the new objective is in effect") {
                try await JSON(text: deployment.apus.page("/debug/config").text)["objectives"][0]["priority"].int == -3
            }
            let after = try await deployment.send(request)
            #expect(after.response.status == 200)
            #expect(try JSON(text: after.response.text)["model"].string == "alias")
            #expect(try await deployment.apus.accessLine(after.id)["priority"].int == -3)
            let counted = #"{model_name="alias",model_rewrite_name="alias",target_model="demo"}"#
            for prefix in ["llm_d_epp", "inference_extension"] {
                let name = "\(prefix)_model_rewrite_decisions_total\(counted)"
                #expect(try await deployment.apus.metrics()[name] == 1)
            }
        }
    }
}
