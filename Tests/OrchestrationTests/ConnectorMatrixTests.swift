import Foundation
import Inference
import Orchestration
import Testing

private let apis: [(api: InferenceAPI, prompt: String, limits: [String])] = [
    (.chatCompletions, #""messages":[{"role":"user","content":"hi"}]"#, ["max_tokens", "max_completion_tokens"]),
    (.completions, #""prompt":"hi""#, ["max_tokens", "max_completion_tokens"]),
    (.responses, #""input":"hi""#, ["max_output_tokens"]),
    (.messages, #""messages":[{"role":"user","content":"hi"}]"#, ["max_tokens", "max_completion_tokens"]),
    (.generate, #""token_ids":[1,2]"#, []),
]
/// What must come through whatever a leg changes: numbers, spacing, escapes and members that nobody knows.
private let kept = [
    #""seed" : 1234567890123456789"#, #""unknown":{"a":[1.50,1E5,-0],"kv_transfer_params":{"b":null}}"#,
    #""text":"\u00e9\/\ud83d\ude00\n""#,
]
/// On the top level of some APIs and in `sampling_params` of another.
private let sampling = #""n":1,"best_of":1,"min_tokens":2"#

private func body(_ api: InferenceAPI, _ prompt: String) -> String {
    let limits = #""max_tokens":50,"max_output_tokens":50,"stream":true,"stream_options":{"include_usage":true}"#
    let inside = api == .generate ? #""sampling_params":{"temperature":0.10,\#(sampling)}"# : sampling
    return "{\"model\":\"m\",\(kept[0]) ,\(prompt),\(kept[1]),\n\(limits),\(inside), \(kept[2])}"
}

/// Readers are made once: what they know of their names is never freed.
private let reader = JSONReader(names: ["x"])

private func object(_ text: String) throws -> [String: Any] {
    _ = try reader.read(Array(text.utf8).span.bytes) { _ in }
    return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
}

private func connector(_ name: OrchestrationSettings.ConnectorName) -> any Connector {
    var settings = OrchestrationSettings()
    settings.connector = name
    return ConnectorRegistry.connector(settings)
}

/// An answer that any connector goes on from.
private let answer = """
    {"choices":[{"finish_reason":"length"}],"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[],\
    "remote_engine_id":"e","remote_host":"h","remote_port":1},"disaggregated_params":{"ctx_request_id":1}}
    """

@Suite("Every connector on every path")
struct ConnectorMatrixTests {
    @Test(
        "What no leg is about reaches both endpoints byte for byte",
        arguments: OrchestrationSettings.ConnectorName.allCases
    )
    func untouched(name: OrchestrationSettings.ConnectorName) throws {
        let connector = connector(name)
        for (api, prompt, _) in apis {
            let peer = PeerIdentity(engineID: "e")
            let leg = try leg(body(api, prompt), api, peer: peer)
            let handover = connector.order == .serial ? try leg.read(answer, connector) : nil
            for text in [leg.prefillBody(connector), leg.decodeBody(connector, handover)] {
                for part in kept + [prompt] where !(name == .trtllm && part == prompt) {
                    #expect(text.contains(part), "\(name) \(api): \(text)")
                }
                let members = try object(text)
                #expect(members["model"] as? String == "m")
                if api == .generate {
                    #expect(text.contains(#""temperature":0.10"#))
                    #expect(members["kv_transfer_params"] == nil)
                }
            }
            // The decode goes on to the client's own end.
            let decode = try object(leg.decodeBody(connector, handover))
            #expect(decode["stream"] as? Bool == true && decode["max_tokens"] as? Int == 50)
            #expect(decode["stream_options"] != nil)
        }
    }

    @Test(
        "A prefill computes the prompt and one token, and answers at once",
        arguments: OrchestrationSettings.ConnectorName.allCases.filter { $0 != .sglang }
    )
    func reduced(name: OrchestrationSettings.ConnectorName) throws {
        let connector = connector(name)
        for (api, prompt, limits) in apis {
            let leg = try leg(body(api, prompt), api)
            let prefill = try object(leg.prefillBody(connector))
            #expect(prefill["stream"] as? Bool == false, "\(name) \(api)")
            #expect(prefill["stream_options"] == nil)
            let inside = api == .generate ? try #require(prefill["sampling_params"] as? [String: Any]) : prefill
            let expected = api == .generate ? ["max_tokens"] : limits
            for limit in expected where !(name == .trtllm && limit == "max_completion_tokens") {
                #expect(inside[limit] as? Int == 1, "\(name) \(api) \(limit)")
            }
            if name == .trtllm { #expect(prefill["max_completion_tokens"] == nil) }
            #expect(inside["n"] as? Int == 1 && inside["best_of"] as? Int == 1 && inside["min_tokens"] == nil)
        }
    }

    @Test(
        "vLLM reads parameters from the body, and in generate requests from the sampling parameters",
        arguments: [OrchestrationSettings.ConnectorName.nixlv2, .mooncake, .offloading]
    )
    func places(name: OrchestrationSettings.ConnectorName) throws {
        let connector = connector(name)
        for (api, prompt, _) in apis {
            let leg = try leg(body(api, prompt), api, peer: PeerIdentity(engineID: "e"))
            let handover = connector.order == .serial ? try leg.read(answer, connector) : nil
            for text in [leg.prefillBody(connector), leg.decodeBody(connector, handover)] {
                let members = try object(text)
                let sampling = members["sampling_params"] as? [String: Any]
                let place = api == .generate ? sampling?["extra_args"] as? [String: Any] : members
                #expect(place?["kv_transfer_params"] is [String: Any], "\(name) \(api): \(text)")
            }
        }
    }
}
