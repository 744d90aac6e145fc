import Admission
import Bytes
import Configuration
import Pool
import TestSupport
import Testing

@testable import EndpointPicker

/// What is asked in place of a model, a thousand times.
private func drawn(_ table: ModelRewriteTable, _ model: String) -> [String: Int] {
    var generator = SeededGenerator(seed: 7)
    var counts: [String: Int] = [:]
    for _ in 0..<1_000 { counts[table.decision(for: model, using: &generator)?.target ?? "", default: 0] += 1 }
    return counts
}

private func table(_ rules: InferenceModelRewrite.Rule..., name: String = "rewrite") -> ModelRewriteTable {
    ModelRewriteTable([InferenceModelRewrite(name: name, rules: rules)])
}

@Suite("Which model is asked")
struct ModelRewriteTests {
    @Test("A rule for a model wins over one for all, wherever they stand, and the older rewrite over the younger")
    func precedence() {
        var generator = SeededGenerator(seed: 1)
        let table = ModelRewriteTable([
            InferenceModelRewrite(
                name: "old",
                rules: [.init(targets: [.init("all")]), .init(targets: [.init("never")])]
            ),
            InferenceModelRewrite(
                name: "young",
                rules: [
                    .init(models: ["a", "b"], targets: [.init("exact")]),
                    .init(models: ["a"], targets: [.init("later")]),
                ]
            ),
            InferenceModelRewrite(name: "youngest", rules: [.init(models: ["b"], targets: [.init("too late")])]),
        ])
        #expect(table.decision(for: "a", using: &generator) == .init(rewrite: "young", target: "exact"))
        #expect(table.decision(for: "b", using: &generator) == .init(rewrite: "young", target: "exact"))
        #expect(table.decision(for: "A", using: &generator) == .init(rewrite: "old", target: "all"))
        #expect(ModelRewriteTable().decision(for: "a", using: &generator) == nil)
        #expect(
            EndpointPickerTests.table(.init(models: ["x"], targets: [.init("y")])).decision(for: "a", using: &generator)
                == nil
        )
    }

    @Test("Targets get their share of the weights; all the same where the weights are 0 or none is said")
    func weights() {
        let weighted = drawn(
            table(.init(targets: [.init("a", weight: 9), .init("never"), .init("b", weight: 1)])),
            "m"
        )
        #expect(weighted["never"] == nil)
        // 100 expected of 1000; far beyond five standard deviations nothing is by chance.
        #expect((50...150).contains(weighted["b"] ?? 0))
        let even = drawn(table(.init(targets: [.init("a"), .init("b")])), "m")
        #expect((400...600).contains(even["a"] ?? 0))
        #expect(even["a", default: 0] + even["b", default: 0] == 1_000)
    }

    @Test(
        "A rewritten request goes on with the target's name and its answer comes back with the client's; the header loses"
    )
    func rewritten() async throws {
        let rewrites = [
            InferenceModelRewrite(name: "canary", rules: [.init(models: ["m"], targets: [.init("model-v2")])])
        ]
        try await withPicker([Pod(0, 0, 0)], modelRewrites: rewrites) { picker in
            let frames: [EnvoyFrame] = [
                .requestHeaders([("x-request-id", "id"), ("x-llm-d-model-name-rewrite", "unwanted")]),
                .requestBody(completion("hello", model: "m"), endOfStream: true),
                .responseHeaders([(":status", "200"), ("content-type", "application/json")]),
                .responseBody(#"{"model": "model-v2", "usage": {}}"#, endOfStream: true),
            ]
            let replies = try await picker.exchange(frames, replies: 4)
            #expect(
                replies.prefix(2) == routed(to: "192.168.1.1:8000", body: completion("hello", model: "model-v2"))[...]
            )
            #expect(replies.last?.bodyText == #"{"model": "m", "usage": {}}"#)
            let labels = #"{model_name="m",model_rewrite_name="canary",target_model="model-v2"}"#
            for prefix in ["inference_extension", "llm_d_epp"] {
                #expect(picker.metrics.contains("\(prefix)_model_rewrite_decisions_total\(labels) 1\n"))
            }
            #expect(
                picker.metrics.contains(
                    #"inference_objective_request_total{model_name="m",priority="0",target_model_name="model-v2"} 1"#
                )
            )
        }
    }

    @Test("The objective's priority is in the metrics, with and without admission, and 0 for an unknown one")
    func priorityLabel() async throws {
        try await withPicker([Pod(0, 0, 0)], priorities: ["fast": 7]) { picker in
            for header in [
                ("x-llm-d-inference-objective", "fast"), ("x-gateway-inference-objective", "fast"),
                ("x-llm-d-inference-objective", "no"),
            ] {
                let frames: [EnvoyFrame] = [
                    .requestHeaders([("x-request-id", "id"), header]),
                    .requestBody(completion("hello", model: "m"), endOfStream: true),
                ]
                _ = try await picker.exchange(frames, replies: 2)
            }
            let name = "inference_objective_request_total"
            #expect(picker.metrics.contains(#"\#(name){model_name="m",priority="7",target_model_name="m"} 2"#))
            #expect(picker.metrics.contains(#"\#(name){model_name="m",priority="0",target_model_name="m"} 1"#))
        }
    }
}
