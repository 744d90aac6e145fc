import Configuration
import Discovery
import EndpointPicker
import SubRequests
import TestSupport
import Testing

/// The reference's hermetic cases that need objectives and rewrites, which come from an API server here, in either group.
@Suite("The reference's cases with objects from Kubernetes", .timeLimit(.minutes(2)))
struct HermeticObjectiveTests {
    private static let groups = ["inference.networking.x-k8s.io", "llm-d.ai"]
    private static let pool = "vllm-qwen3-32b-pool"

    /// What an API server with the reference's objects tells.
    private static func told(by group: String) async throws -> (
        objectives: [String: Int], rewrites: [InferenceModelRewrite]
    ) {
        let fake = try FakeKubernetes()
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool(pool))
        let reference = #""poolRef":{"name":"\#(pool)","kind":"InferencePool","group":"inference.networking.k8s.io"}"#
        for (name, priority) in [
            ("sql-lora", #""priority":2,"#), ("sql-lora-sheddable", ""), ("my-model", #""priority":2,"#),
            ("direct-model", #""priority":2,"#), ("inference-objective-with-priority-4", #""priority":4,"#),
        ] {
            try fake.put(
                FakeKubernetes.objectives(group),
                #"{"metadata":{"name":"\#(name)"},"spec":{\#(priority)\#(reference)}}"#
            )
        }
        try fake.put(
            FakeKubernetes.rewrites(group),
            #"""
            {"metadata":{"name":"rewrite-test"},"spec":{\#(reference),"rules":[{"matches":[{"model":{"type":"Exact",
            "value":"model-to-be-rewritten"}}],"targets":[{"modelRewrite":"rewritten-model"}]}]}}
            """#
        )
        let http = HTTPClient()
        defer { http.shutdown() }
        let events = EventLog<KubernetesDiscovery.Event>()
        let source = KubernetesDiscovery.Source.pool(name: pool, group: "inference.networking.k8s.io")
        let client = KubernetesClient(KubernetesAccess(server: fake.url), client: http)
        let discovery = KubernetesDiscovery(.init(source, namespace: "default"), client: client) { events.append($0) }
        discovery.start()
        defer { discovery.stop() }
        var objectives: [InferenceObjective] = []
        var rewrites: [InferenceModelRewrite] = []
        await events.wait { events in
            events.contains { if case .objectives(let all) = $0 { all.count == 5 } else { false } }
                && events.contains { if case .modelRewrites(let all) = $0 { all.count == 1 } else { false } }
        }
        for event in events.entries {
            switch event {
            case .objectives(let all): objectives = all
            case .modelRewrites(let all): rewrites = all
            default: break
            }
        }
        return (Dictionary(objectives.map { ($0.name, $0.priority) }) { first, _ in first }, rewrites)
    }

    struct Case: CustomTestStringConvertible, Sendable {
        var name: String
        var model: String
        var target: String
        var pods: [Pod]
        var winner: String
        var priority: Int
        /// Where an `InferenceModelRewrite` decides.
        var sent: String?

        var testDescription: String { name }
    }

    static let cases = [
        Case(
            name: "select lower queue and kv cache",
            model: "my-model",
            target: "my-model-12345",
            pods: [Pod(0, 3, 0.2), Pod(1, 0, 0.1), Pod(2, 10, 0.2)],
            winner: "192.168.1.2:8000",
            priority: 2
        ),
        Case(
            name: "select active lora, low queue",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [
                Pod(0, 0, 0.2, "foo", "bar"), Pod(1, 0, 0.1, "foo", "sql-lora-1fdg2"), Pod(2, 10, 0.2, "foo", "bar"),
            ],
            winner: "192.168.1.2:8000",
            priority: 2
        ),
        Case(
            name: "do not shed requests by default",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [Pod(0, 6, 0.2, "foo", "bar", "sql-lora-1fdg2"), Pod(1, 0, 0.85, "foo"), Pod(2, 10, 0.9, "foo")],
            winner: "192.168.1.1:8000",
            priority: 2
        ),
        Case(
            name: "an objective without a priority has 0",
            model: "sql-lora-sheddable",
            target: "sql-lora-1fdg3",
            pods: [Pod(0, 4, 0.2, "foo", "bar", "sql-lora-1fdg3"), Pod(1, 4, 0.85, "foo", "sql-lora-1fdg3")],
            winner: "192.168.1.1:8000",
            priority: 0
        ),
        Case(
            name: "passthrough: model not in objectives",
            model: "direct-model",
            target: "direct-model",
            pods: [Pod(0, 4, 0.2, "foo", "bar", "sql-lora-1fdg3"), Pod(1, 4, 0.85, "foo", "sql-lora-1fdg3")],
            winner: "192.168.1.1:8000",
            priority: 2
        ),
        Case(
            name: "priority 4",
            model: "inference-objective-with-priority-4",
            target: "x",
            pods: [Pod(0, 3, 0.2), Pod(1, 0, 0.1)],
            winner: "192.168.1.2:8000",
            priority: 4
        ),
        Case(
            name: "rewrite request model",
            model: "model-to-be-rewritten",
            target: "model-to-be-rewritten",
            pods: [Pod(0, 0, 0.1, "foo", "rewritten-model")],
            winner: "192.168.1.1:8000",
            priority: 0,
            sent: "rewritten-model"
        ),
    ]

    @Test(
        "Each goes to the reference's winner, under the objective's priority and the rewritten name",
        arguments: groups
    )
    func route(group: String) async throws {
        let (objectives, rewrites) = try await Self.told(by: group)
        for test in Self.cases {
            try await withPicker(test.pods, priorities: objectives, modelRewrites: rewrites) { picker in
                let frames = llmRequest("test", model: test.model, target: test.target)
                let replies = try await picker.exchange(frames, replies: 2)
                let sent = test.sent ?? test.target
                let body = completion("test", model: sent)
                #expect(
                    replies == routed(to: test.winner, body: body, contentLength: sent != test.model),
                    "\(test.name)"
                )
                let labels =
                    #"{model_name="\#(test.model)",priority="\#(test.priority)",target_model_name="\#(sent)"} 1"#
                #expect(picker.metrics.contains("inference_objective_request_total" + labels), "\(test.name)")
            }
        }
    }

    @Test("Without the kinds all priorities are 0 and no name is changed")
    func standalone() async throws {
        try await withPicker([Pod(0, 3, 0.2), Pod(1, 0, 0.1)]) { picker in
            let frames = llmRequest("test", model: "sql-lora", target: "sql-lora-1fdg2")
            let replies = try await picker.exchange(frames, replies: 2)
            #expect(
                replies == routed(to: "192.168.1.2:8000", body: completion("test", model: "sql-lora-1fdg2"))
            )
            #expect(
                picker.metrics.contains(#"{model_name="sql-lora",priority="0",target_model_name="sql-lora-1fdg2"} 1"#)
            )
        }
    }
}
