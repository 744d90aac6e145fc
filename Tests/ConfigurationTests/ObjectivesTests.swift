import Testing

@testable import Configuration

private func load(_ text: String) -> (configuration: EndpointPickerConfiguration?, said: [String]) {
    let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
    let result = ConfigurationLoader.load(text: Array((header + text).utf8), file: "f")
    return (result.configuration, result.diagnostics.map(\.description))
}

@Suite("The sections objectives and modelRewrites")
struct ObjectivesTests {
    @Test("Objectives have a name and a priority, which is 0 when it is not said")
    func objectives() throws {
        let (found, said) = load(
            """
            objectives:
            - {name: interactive, priority: 10}
            - {name: batch, priority: -5}
            - {name: plain}
            """
        )
        #expect(said.isEmpty)
        #expect(
            try #require(found).objectives == [
                InferenceObjective(name: "interactive", priority: 10),
                InferenceObjective(name: "batch", priority: -5),
                InferenceObjective(name: "plain", priority: 0),
            ]
        )
    }

    @Test("Rewrites have rules as their Kubernetes resource has them")
    func modelRewrites() throws {
        let (found, said) = load(
            """
            modelRewrites:
            - name: canary
              rules:
              - matches: [{model: {type: Exact, value: chat}}, {model: {value: talk}}]
                targets: [{modelRewrite: chat-v1, weight: 90}, {modelRewrite: chat-v2, weight: 10}]
              - targets: [{modelRewrite: fallback}]
            """
        )
        #expect(said.isEmpty)
        #expect(
            try #require(found).modelRewrites == [
                InferenceModelRewrite(
                    name: "canary",
                    rules: [
                        .init(
                            models: ["chat", "talk"],
                            targets: [.init("chat-v1", weight: 90), .init("chat-v2", weight: 10)]
                        ),
                        .init(targets: [.init("fallback")]),
                    ]
                )
            ]
        )
    }

    @Test(
        "What is wrong is said with its place",
        arguments: [
            ("objectives: [{priority: 1}]", ["f:3:14: error: missing key \"name\""]),
            (
                "objectives: [{name: a, priority: high}]",
                ["f:3:34: error: key \"priority\" must be an integer, not \"high\""]
            ),
            (
                "objectives: [{name: a, priority: 2147483648}]",
                ["f:3:34: error: key \"priority\" must be at most 2147483647, not 2147483648"]
            ),
            (
                "objectives: [{name: a}, {name: a}]",
                ["f:3:32: error: an objective named \"a\" exists already, on line 3"]
            ),
            (
                "objectives: [{name: a, prioritys: 1}]",
                ["f:3:24: error: unknown key \"prioritys\"; did you mean \"priority\"?"]
            ),
            ("modelRewrites: [{name: a}]", ["f:3:17: error: missing key \"rules\""]),
            (
                "modelRewrites: [{name: a, rules: [{matches: [{model: {value: m}}]}]}]",
                ["f:3:35: error: missing key \"targets\"", "f:3:35: error: a rule needs at least one target"]
            ),
            (
                "modelRewrites: [{name: a, rules: [{matches: [{model: {type: Prefix, value: m}}], targets: [{modelRewrite: t}]}]}]",
                ["f:3:61: error: key \"type\" must be one of Exact, not \"Prefix\""]
            ),
            (
                "modelRewrites: [{name: a, rules: [{targets: [{modelRewrite: t, weight: 1}, {modelRewrite: u}]}]}]",
                ["f:3:35: error: either every target of a rule has a weight or none has"]
            ),
            (
                "modelRewrites: [{name: a, rules: [{targets: [{weight: 1}]}]}]",
                ["f:3:46: error: missing key \"modelRewrite\""]
            ),
            (
                "modelRewrites: [{name: a, rules: [{targets: [{modelRewrite: t, weight: -1}]}]}]",
                ["f:3:72: error: key \"weight\" must be at least 0, not -1"]
            ),
        ]
    )
    func wrong(_ text: String, _ expected: [String]) {
        let (found, said) = load(text)
        #expect(said == expected)
        #expect(found == nil)
    }
}
