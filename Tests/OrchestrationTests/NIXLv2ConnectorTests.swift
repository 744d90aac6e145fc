import Foundation
import Inference
import Orchestration
import Testing

private let connector = NIXLv2Connector()
private let asked =
    #"{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}"#
/// As a real engine gave it, with numbers that a 64-bit float cannot hold.
private let parameters =
    #"{"do_remote_prefill": true, "do_remote_decode": false, "remote_block_ids": [[1, 2], [9007199254740993123]], "#
    + #""remote_engine_id": "3f928e6e-8027-4779-9bed-8a1188c49531", "remote_request_id": "cmpl-r-0-ae2d8f21", "#
    + #""remote_host": "127.0.0.1", "remote_port": 5600, "tp_size": 1, "remote_blocks_expiry_time": null, "#
    + #""transfer_mode": "pull", "new": {"x": [1.50]}}"#

private func answer(_ parameters: String, finish: String = "length") -> String {
    #"{"id": "cmpl-r", "choices": [{"index": 0, "text": "p", "finish_reason": "\#(finish)"}], "usage": {"prompt_tokens": 199, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 64}}, "kv_transfer_params": "#
        + parameters + "}"
}

@Suite("nixlv2")
struct NIXLv2ConnectorTests {
    @Test(
        "Each API's prefill body asks for one token and for the blocks; all else stays as it was",
        arguments: [
            (
                .chatCompletions,
                #"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},"max_tokens":100,"max_completion_tokens":90,"min_tokens":5,"n":1,"best_of":1,"seed":1234567890123456789,"own":{"a":[1.0]}}"#,
                #"{"kv_transfer_params":\#(asked),"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"max_tokens":1,"max_completion_tokens":1,"n":1,"best_of":1,"seed":1234567890123456789,"own":{"a":[1.0]}}"#
            ),
            (
                .completions, #"{"model":"m", "prompt":"p"}"#,
                #"{"stream":false,"max_tokens":1,"max_completion_tokens":1,"kv_transfer_params":\#(asked),"model":"m", "prompt":"p"}"#
            ),
            (
                .responses,
                #"{"model":"m","input":"p","max_output_tokens":50,"stream":true,"background":true,"store":true}"#,
                #"{"kv_transfer_params":\#(asked),"model":"m","input":"p","max_output_tokens":1,"stream":false,"background":false,"store":false}"#
            ),
            (
                .messages, #"{"model":"m","messages":[{"role":"user","content":"p"}],"max_tokens":50}"#,
                #"{"stream":false,"max_completion_tokens":1,"kv_transfer_params":\#(asked),"model":"m","messages":[{"role":"user","content":"p"}],"max_tokens":1}"#
            ),
            (
                .generate, #"{"token_ids":[1,2],"sampling_params":{"max_tokens":50,"min_tokens":3,"n":1,"seed":7}}"#,
                #"{"stream":false,"token_ids":[1,2],"sampling_params":{"extra_args":{"kv_transfer_params":\#(asked)},"max_tokens":1,"n":1,"seed":7}}"#
            ),
            (
                .generate, #"{"token_ids":[1,2],"stream":false}"#,
                #"{"sampling_params":{"max_tokens":1,"extra_args":{"kv_transfer_params":\#(asked)}},"token_ids":[1,2],"stream":false}"#
            ),
        ] as [(InferenceAPI, String, String)]
    )
    func prefill(api: InferenceAPI, body: String, expected: String) throws {
        #expect(try leg(body, api).prefillBody(connector) == expected)
    }

    @Test("The decode body is the client's and the parameters, byte for byte")
    func decode() throws {
        let chat = try leg(
            #"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":100}"#,
            .chatCompletions
        )
        let handover = try chat.read(answer(parameters), connector)
        #expect(text(handover.parameters) == parameters)
        #expect(handover.cachedTokens == 64)
        #expect(!handover.isFinal && handover.extras.isEmpty)
        #expect(
            chat.decodeBody(connector, handover)
                == #"{"kv_transfer_params":\#(parameters),"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":100}"#
        )
        let generate = try leg(#"{"token_ids":[1],"sampling_params":{"extra_args":{"a":1},"n":1}}"#, .generate)
        #expect(
            generate.decodeBody(connector, handover)
                == #"{"token_ids":[1],"sampling_params":{"extra_args":{"kv_transfer_params":\#(parameters),"a":1},"n":1}}"#
        )
    }

    @Test(
        "Block lists may be nested, flat or empty, and older engines name no request",
        arguments: ["[[1, 2], []]", "[1,2]", "[]", "[[]]", "[ ]"]
    )
    func blocks(list: String) throws {
        let leg = try leg(#"{"model":"m","prompt":"p"}"#, .completions)
        let old =
            #"{"do_remote_prefill":true,"remote_block_ids":\#(list),"remote_engine_id":"e","remote_host":"::1","remote_port":65535}"#
        #expect(text(try leg.read(answer(old), connector).parameters) == old)
    }

    @Test(
        "What a decode endpoint would hang or die of never gets there",
        arguments: [
            ("null", "no object"), ("[]", "no object"), (#""x""#, "no object"), ("{}", "do_remote_prefill"),
            (swap("do_remote_prefill\": true", "do_remote_prefill\": false"), "do_remote_prefill"),
            (swap("do_remote_prefill\": true", "do_remote_prefill\": \"true\""), "do_remote_prefill"),
            (swap("[[1, 2], [9007199254740993123]]", "null"), "remote_block_ids"),
            (swap("[[1, 2], [9007199254740993123]]", "[null]"), "remote_block_ids"),
            (swap("[[1, 2], [9007199254740993123]]", #"["1"]"#), "remote_block_ids"),
            (swap("[[1, 2], [9007199254740993123]]", "[{}]"), "remote_block_ids"),
            (swap(#""3f928e6e-8027-4779-9bed-8a1188c49531""#, #""""#), "remote_engine_id"),
            (swap(#""3f928e6e-8027-4779-9bed-8a1188c49531""#, "null"), "remote_engine_id"),
            (swap(#""127.0.0.1""#, "null"), "remote_host"), (swap(#""remote_host": "127.0.0.1", "#, ""), "remote_host"),
            (swap("5600", "0"), "remote_port"), (swap("5600", "65536"), "remote_port"),
            (swap("5600", #""5600""#), "remote_port"), (swap("5600", "56.5"), "remote_port"),
            (swap(#""cmpl-r-0-ae2d8f21""#, #""""#), "remote_request_id"),
            (swap(#""cmpl-r-0-ae2d8f21""#, "null"), "remote_request_id"),
            (swap(#""tp_size": 1"#, #""remote_host": "10.9.9.9""#), "twice"),
            (swap(#""tp_size": 1"#, #""remote\u005fhost": "10.9.9.9""#), "twice"),
            (swap("1.50", String(repeating: "[", count: 40) + String(repeating: "]", count: 40)), "too deep"),
            (parameters + #", "kv_transfer_params": {}"#, "twice"),
            (parameters + #", "error": {"message": "x"}"#, "an error"),
            (parameters + #", "object": "error""#, "an error"), (parameters + #", "status": "failed""#, "failed"),
            (String(parameters.dropLast(3)), "no JSON"), ("1e", "no JSON"),
        ] as [(String, String)]
    )
    func hostile(parameters: String, problem: String) throws {
        let leg = try leg(#"{"model":"m","prompt":"p"}"#, .completions)
        do {
            _ = try leg.read(answer(parameters), connector)
            Issue.record("accepted \(parameters)")
        } catch {
            #expect(error.message.contains(problem), "\(error.message)")
        }
    }

    @Test(
        "Other answers of status 200 that are none",
        arguments: ["", "{", "[]", "null", "{}", "\u{feff}{}", "data: {}"]
    )
    func noAnswer(answer: String) throws {
        let leg = try leg(#"{"model":"m","prompt":"p"}"#, .completions)
        #expect(throws: BadAnswer.self) { try leg.read(answer, connector) }
    }

    @Test("A generation that failed is no prefill, whatever else the answer holds", arguments: ["error", "abort"])
    func failed(reason: String) throws {
        let leg = try leg(#"{"model":"m","prompt":"p"}"#, .completions)
        #expect(throws: BadAnswer("the answer's finish_reason is \(reason)")) {
            try leg.read(answer(parameters, finish: reason), connector)
        }
    }

    @Test("A prefill that does not tell what it had cached tells nil")
    func noUsage() throws {
        let leg = try leg(#"{"model":"m","prompt":"p"}"#, .completions)
        #expect(try leg.read(#"{"kv_transfer_params":\#(parameters)}"#, connector).cachedTokens == nil)
    }

    @Test(
        "Requests for several sequences, and those without a prompt to compute, are the decode endpoint's alone",
        arguments: [
            (.completions, #"{"model":"m","prompt":"p","n":1,"best_of":1}"#, .suitable),
            (.completions, #"{"model":"m","prompt":[1,2,3]}"#, .suitable),
            (.completions, #"{"model":"m","prompt":["p"]}"#, .suitable),
            (.completions, #"{"model":"m","prompt":["p","q"]}"#, .decodeAlone("there are 2 prompts")),
            (.completions, #"{"model":"m","prompt":[[1],[2],[3]]}"#, .decodeAlone("there are 3 prompts")),
            (.completions, #"{"model":"m","prompt":"p","n":2}"#, .decodeAlone("n is 2")),
            (.completions, #"{"model":"m","prompt":"p","best_of":3}"#, .decodeAlone("best_of is 3")),
            (.generate, #"{"token_ids":[1],"sampling_params":{"n":4}}"#, .decodeAlone("n is 4")),
            (.generate, #"{"token_ids":[1],"sampling_params":null}"#, .suitable),
            (.generate, #"{"token_ids":[1],"sampling_params":{"extra_args":null}}"#, .suitable),
            (.generate, #"{"token_ids":[1],"sampling_params":[]}"#, .refused("sampling_params must be an object")),
            (
                .generate, #"{"token_ids":[1],"sampling_params":{"extra_args":[]}}"#,
                .refused("sampling_params.extra_args must be an object")
            ),
            (.embeddings, #"{"model":"m","input":"p"}"#, .decodeAlone("requests of this API have no prefill")),
        ] as [(InferenceAPI, String, Suitability)]
    )
    func suitability(api: InferenceAPI, body: String, expected: Suitability) throws {
        #expect(try leg(body, api).suitability(connector) == expected)
    }
}

private func swap(_ old: String, _ new: String) -> String {
    let parts = parameters.components(separatedBy: old)
    return parts.count == 2 ? parts[0] + new + parts[1] : "the test is wrong: \(old)"
}
