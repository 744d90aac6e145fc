import Admission
import Configuration
import Scheduling
import TestSupport
import Testing

@testable import EndpointPicker

/// Configurations as they are run with llm-d-router today, in its words; each loads without an error and decides as it says.
@Suite("Configurations that people bring along")
struct SampleConfigurationTests {
    private func load(_ text: String, apiVersion: String = "llm-d.ai/v1alpha1") throws -> (SchedulingSetup, [String]) {
        let whole = "apiVersion: \(apiVersion)\nkind: EndpointPickerConfig\n" + text
        let result = ConfigurationLoader.setup(text: Array(whole.utf8), file: "f")
        return (try #require(result.setup, "\(result.diagnostics)"), result.diagnostics.map(\.description))
    }

    private func body(_ prompt: String) -> String { #"{"model":"m","prompt":"\#(prompt)"}"# }

    private func frames(_ prompt: String, _ headers: [(String, String)] = []) -> [EnvoyFrame] {
        [.requestHeaders([("x-request-id", "id")] + headers), .requestBody(body(prompt), endOfStream: true)]
    }

    private static let disaggregated = """
        plugins:
        - type: prefill-filter
        - type: decode-filter
        - type: prefix-cache-scorer
          parameters: {maxPrefixBlocksToMatch: 256, lruCapacityPerServer: 31250}
        - type: queue-scorer
        - type: max-score-picker
        - type: prefix-based-pd-decider
          parameters: {nonCachedTokens: 16}
        - type: disagg-profile-handler
          parameters: {deciders: {prefill: prefix-based-pd-decider}}
        schedulingProfiles:
        - name: prefill
          plugins:
          - pluginRef: prefill-filter
          - pluginRef: max-score-picker
          - {pluginRef: prefix-cache-scorer, weight: 2}
          - {pluginRef: queue-scorer, weight: 1}
        - name: decode
          plugins:
          - pluginRef: decode-filter
          - pluginRef: max-score-picker
          - {pluginRef: prefix-cache-scorer, weight: 2}
          - {pluginRef: queue-scorer, weight: 1}
        """

    @Test(
        "Prefill and decode: a long cold prompt is computed elsewhere, the same one again is not",
        arguments: ["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"]
    )
    func prefillDecode(version: String) async throws {
        let (setup, said) = try load(Self.disaggregated, apiVersion: version)
        #expect(said.allSatisfy { !$0.contains("error") })
        let pods = [Pod(0, 0, 0.1).role("prefill"), Pod(1, 0, 0.1).role("decode")]
        try await withPicker(pods, scheduler: setup.scheduler) { picker in
            // Whole blocks, since a part of one is never cached.
            let long = String(repeating: "many words long ", count: 96)
            for expected in ["192.168.1.1:8000", nil] {
                let replies = try await picker.exchange(frames(long), replies: 2)
                #expect(replies.first?.header("x-gateway-destination-endpoint") == "192.168.1.2:8000")
                #expect(replies.first?.header("x-prefiller-host-port") == expected)
            }
        }
    }

    @Test("Encode, prefill and decode: only a prompt with an image has it encoded")
    func encodePrefillDecode() async throws {
        let (setup, said) = try load(
            """
            plugins:
            - type: encode-filter
            - type: prefill-filter
            - type: decode-filter
            - type: queue-scorer
            - type: always-disagg-pd-decider
            - type: always-disagg-multimodal-decider
            - type: disagg-profile-handler
              parameters:
                deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}
            schedulingProfiles:
            - name: encode
              plugins: [{pluginRef: encode-filter}, {pluginRef: queue-scorer}]
            - name: prefill
              plugins: [{pluginRef: prefill-filter}, {pluginRef: queue-scorer}]
            - name: decode
              plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]
            """
        )
        #expect(said.isEmpty, "\(said)")
        let pods = [Pod(0, 0, 0).role("encode"), Pod(1, 0, 0).role("prefill"), Pod(2, 0, 0).role("decode")]
        try await withPicker(pods, scheduler: setup.scheduler) { picker in
            let image =
                #"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}"#
            let text = #"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#
            for (body, encoder) in [(image, "192.168.1.1:8000"), (text, nil)] as [(String, String?)] {
                let asked: [EnvoyFrame] = [
                    .requestHeaders([(":path", "/v1/chat/completions"), ("x-request-id", "id")]),
                    .requestBody(body, endOfStream: true),
                ]
                let replies = try await picker.exchange(asked, replies: 2)
                #expect(replies.first?.header("x-encoder-hosts-ports") == encoder)
                #expect(replies.first?.header("x-prefiller-host-port") == "192.168.1.2:8000")
                #expect(replies.first?.header("x-gateway-destination-endpoint") == "192.168.1.3:8000")
            }
        }
    }

    @Test("Session affinity beside the usual scorers: the token that the response brings leads back")
    func sessionAffinity() async throws {
        let (setup, said) = try load(
            """
            plugins:
            - type: session-affinity-scorer
            - type: load-aware-scorer
              parameters: {threshold: 100}
            - type: kv-cache-utilization-scorer
            - type: max-score-picker
            - type: single-profile-handler
            schedulingProfiles:
            - name: default
              plugins:
              - {pluginRef: session-affinity-scorer, weight: 100}
              - {pluginRef: load-aware-scorer, weight: 1}
              - {pluginRef: kv-cache-utilization-scorer, weight: 1}
              - pluginRef: max-score-picker
            """
        )
        #expect(said.isEmpty, "\(said)")
        try await withPicker([Pod(0, 0, 0.9), Pod(1, 9, 0.1)], scheduler: setup.scheduler) { picker in
            let token = SessionToken().header
            let response = EnvoyFrame.responseHeaders([(":status", "200")])
            let first = try await picker.exchange(
                frames("hello") + [response, .responseBody("{}", endOfStream: true)],
                replies: 4
            )
            let home = first.first?.header("x-gateway-destination-endpoint")
            let value = try #require(first.count > 2 ? first[2].header(token) : nil)
            picker.pool.set([Pod(0, 99, 1), Pod(1, 99, 1)])
            for _ in 0..<5 {
                let next = try await picker.exchange(frames("hello", [(token, value)]), replies: 2)
                #expect(next.first?.header("x-gateway-destination-endpoint") == home)
            }
        }
    }

    @Test(
        "Flow control with bands, policies and a detector: what finds 128 requests under way waits, and goes by priority"
    )
    func flowControl() async throws {
        let (setup, said) = try load(
            """
            featureGates: [flowControl]
            plugins:
            - type: queue-scorer
            - type: kv-cache-utilization-scorer
            - type: prefix-cache-scorer
            - type: round-robin-fairness-policy
            - type: edf-ordering-policy
            - type: slo-deadline-ordering-policy
            - type: concurrency-detector
              parameters: {maxConcurrency: 128, headroom: 0.2}
            schedulingProfiles:
            - name: default
              plugins:
              - {pluginRef: queue-scorer, weight: 2}
              - {pluginRef: kv-cache-utilization-scorer, weight: 2}
              - {pluginRef: prefix-cache-scorer, weight: 3}
            flowControl:
              maxBytes: 10Gi
              defaultRequestTTL: 30s
              saturationDetector: {pluginRef: concurrency-detector}
              priorityBands:
              - {priority: 100, maxBytes: 5Gi, fairnessPolicyRef: round-robin-fairness-policy, orderingPolicyRef: slo-deadline-ordering-policy}
              - {priority: 0, maxRequests: 1k, orderingPolicyRef: edf-ordering-policy}
              - {priority: -10, maxRequests: 100}
            """
        )
        #expect(said.isEmpty, "\(said)")
        let flowControl = try #require(setup.admission.flowControl)
        #expect(flowControl.maxBytes == 10 << 30 && flowControl.requestTTL == .seconds(30))
        #expect(flowControl.bands.keys.sorted() == [-10, 0, 100])
        #expect(flowControl.bands[0]?.maxRequests == 1_000 && flowControl.bands[100]?.maxBytes == 5 << 30)
        #expect(setup.scheduler.profiles[0].scorers.map(\.weight) == [2, 2, 3])

        let priorities = ["high": 100, "low": -10]
        try await withPicker(
            [Pod(0, 0, 0)],
            scheduler: setup.scheduler,
            admission: setup.admission,
            priorities: priorities
        ) { picker in
            func begin(_ objective: String) async throws -> GRPCClientCall {
                try await picker.begin(frames("hello", [("x-llm-d-inference-objective", objective)]))
            }
            var running: [GRPCClientCall] = []
            for _ in 0..<128 {
                let exchange = try await begin("")
                _ = try await exchange.replies(2)
                running.append(exchange)
            }
            var waiting: [GRPCClientCall] = []
            for (index, objective) in ["low", "", "high"].enumerated() {
                waiting.append(try await begin(objective))
                try await picker.waitUntil(waiting: index + 1)
            }
            for next in waiting.reversed() {
                await running.removeLast().end()
                let replies = try await next.replies(2)
                #expect(replies.first?.header("x-gateway-destination-endpoint") == "192.168.1.1:8000")
            }
            for exchange in running + waiting { await exchange.end() }
        }
    }

    @Test("The coordinator's: one profile by header, conditional decodes by a decider that nobody refers to")
    func coordinator() async throws {
        let (setup, said) = try load(
            """
            plugins:
            - type: token-producer
              parameters: {modelName: m, vllm: {url: "http://render:8000"}}
            - type: approx-prefix-cache-producer
            - type: prefix-cache-scorer
            - type: max-score-picker
            - type: prefix-based-pd-decider
              parameters: {nonCachedTokens: 8}
            schedulingProfiles:
            - name: decode
              plugins: [{pluginRef: prefix-cache-scorer}, {pluginRef: max-score-picker}]
            """
        )
        #expect(said.isEmpty, "\(said)")
        #expect(setup.scheduler.conditionalDecider?.nonCachedTokens == 8)
        #expect(setup.tokens.rendering?.url == "http://render:8000" && setup.tokens.rendering?.model == "m")

        let prefer = [("prefer", "if-available")]
        try await withPicker([Pod(0, 0, 0.1)], scheduler: setup.scheduler) { picker in
            let long = String(repeating: "many words long ", count: 96)
            let cold = try await picker.exchange(frames(long, prefer), replies: 1)
            #expect(cold.first?.status == 412)
            _ = try await picker.exchange(frames(long), replies: 2)
            let warm = try await picker.exchange(frames(long, prefer), replies: 2)
            #expect(warm.first?.header("x-gateway-destination-endpoint") == "192.168.1.1:8000")
        }
    }
}
