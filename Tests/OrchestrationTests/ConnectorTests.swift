import Bytes
import Inference
import Orchestration
import Testing

private let chat = #"{"model":"m","messages":[{"role":"user","content":"hi"}],"seed":1234567890123456789}"#
private let rest = #""model":"m","messages":[{"role":"user","content":"hi"}],"seed":1234567890123456789}"#
private let caps = #""stream":false,"max_tokens":1,"max_completion_tokens":1"#
private let done =
    #"{"choices":[{"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":4}}}"#
private let failures = [
    "", "{", "no", #"{"error":{"message":"x"}}"#, #"{"choices":[{"finish_reason":"error"}]}"#,
    #"{"choices":[{"finish_reason":"length"},{"finish_reason":"error"}]}"#, #"{"choices":[],"choices":[]}"#,
    String(repeating: #"{"a":"#, count: 10_001) + "1" + String(repeating: "}", count: 10_001),
]

@Suite("shared-storage")
struct SharedStorageConnectorTests {
    private let connector = SharedStorageConnector()

    @Test("Both legs serve whatever is cached when the client had set a threshold")
    func threshold() throws {
        let leg = try leg(
            #"{"model":"m","prompt":"p","cache_hit_threshold":0.8,"max_tokens":9,"n":3}"#,
            .completions
        )
        #expect(connector.order == .serial)
        #expect(
            leg.prefillBody(connector)
                == #"{"stream":false,"max_completion_tokens":1,"model":"m","prompt":"p","cache_hit_threshold":0,"max_tokens":1,"n":1}"#
        )
        #expect(
            leg.decodeBody(connector, Handover())
                == #"{"model":"m","prompt":"p","cache_hit_threshold":0,"max_tokens":9,"n":3}"#
        )
        #expect(leg.suitability(connector) == .suitable)
    }

    @Test("Without one the decode gets the client's body")
    func plain() throws {
        let leg = try leg(chat, .chatCompletions)
        #expect(leg.prefillBody(connector) == "{\(caps),\(rest)")
        #expect(leg.decodeBody(connector, Handover()) == chat)
        #expect(try leg.read(done, connector) == Handover(cachedTokens: 4))
    }

    @Test("Answers of status 200 that are none", arguments: failures)
    func failed(answer: String) throws {
        #expect(throws: BadAnswer.self) { try leg(chat, .chatCompletions).read(answer, SharedStorageConnector()) }
    }
}

@Suite("sglang")
struct SGLangConnectorTests {
    private let connector = SGLangConnector()
    private let rid = #""rid":"apus-0123456789abcdef""#

    @Test("Both legs get the whole body, a room as an integer and a request id of ours")
    func bodies() throws {
        let streaming = #"{"model":"m","messages":[{"role":"user"}],"stream":true,"max_tokens":50,"rid":"client's"}"#
        let leg = try leg(streaming, .chatCompletions)
        let expected =
            #"{"bootstrap_host":"10.0.0.1","bootstrap_port":8998,"bootstrap_room":81985529216486895,"model":"m","#
            + #""messages":[{"role":"user"}],"stream":true,"max_tokens":50,"# + rid + "}"
        #expect(connector.order == .concurrent)
        #expect(leg.prefillBody(connector) == expected)
        #expect(leg.decodeBody(connector) == expected)
    }

    @Test("Rooms are of 63 bits, whatever the attempt's id", arguments: [UInt64.max, 1 << 63, 1])
    func rooms(id: UInt64) throws {
        let body = try leg(chat, .chatCompletions, attemptID: id).prefillBody(connector)
        #expect(body.contains("\"bootstrap_room\":\(id & (1 << 63 - 1)),"))
        #expect(body.contains(id == 1 ? #""rid":"apus-0000000000000001""# : #""rid":"apus-"#))
    }

    @Test("Each of a list of prompts has a room of its own; a list of tokens is one prompt")
    func batch() throws {
        #expect(
            try leg(#"{"model":"m","prompt":["a","b"]}"#, .completions, attemptID: 7).prefillBody(connector)
                == #"{"rid":"apus-0000000000000007","bootstrap_host":["10.0.0.1","10.0.0.1"],"bootstrap_port":[8998,8998],"bootstrap_room":[7,8],"model":"m","prompt":["a","b"]}"#
        )
        for prompt in [#"[1,2]"#, #""a""#] {
            let body = try leg(#"{"model":"m","prompt":\#(prompt)}"#, .completions, attemptID: 7).decodeBody(connector)
            #expect(body.contains(#""bootstrap_room":7,"#))
        }
    }

    @Test("An IPv6 address stands in brackets, as these servers put the port behind it")
    func ipv6() throws {
        let body = try leg(chat, .chatCompletions, prefill: "fd00::1").prefillBody(connector)
        #expect(body.contains(#""bootstrap_host":"[fd00::1]""#))
    }

    @Test("The abort names the request by our id")
    func abort() throws {
        let abort = connector.abort(try leg(chat, .chatCompletions))
        #expect(abort?.method == "POST" && abort?.path == "/abort_request" && abort?.port == nil)
        #expect(abort.map { text($0.body) } == "{\(rid)}")
    }

    @Test("A prefill may answer with events; each must be good")
    func events() throws {
        let leg = try leg(chat, .chatCompletions)
        #expect(try leg.read(done, connector) == Handover(cachedTokens: 4))
        let good = "data: {\"choices\":[{\"finish_reason\":null}]}\r\n\r\ndata:\(done)\n\ndata: [DONE]\n\n"
        #expect(try leg.read(good, connector) == Handover(cachedTokens: 4))
        for bad in failures + [
            "data: {\"error\":{\"message\":\"x\"}}\n\n", "data: {\n\n", ": nothing\n\n", "<html>",
            good + "data: {\"choices\":[{\"finish_reason\":\"abort\"}]}",
        ] {
            #expect(throws: BadAnswer.self, "\(bad.prefix(80))") { try leg.read(bad, connector) }
        }
    }

    @Test("Several answers are refused, for no server could give them")
    func several() throws {
        #expect(
            try leg(#"{"model":"m","prompt":"p","n":2}"#, .completions).suitability(connector)
                == .refused("n must be 1 where prefill and decode are separate, not 2")
        )
        #expect(try leg(#"{"model":"m","prompt":["p","q"]}"#, .completions).suitability(connector) == .suitable)
        let many = "[" + Array(repeating: #""p""#, count: 4097).joined(separator: ",") + "]"
        guard case .refused = try leg(#"{"model":"m","prompt":\#(many)}"#, .completions).suitability(connector) else {
            Issue.record("any number of prompts is taken")
            return
        }
    }
}

@Suite("mooncake")
struct MooncakeConnectorTests {
    private let connector = MooncakeConnector()

    private func inquire(_ answer: String, attemptID: UInt64 = 1) throws -> PeerIdentity {
        let leg = try leg(chat, .chatCompletions, attemptID: attemptID)
        return try Array(answer.utf8).withRawSpan { bytes throws(BadAnswer) in try connector.readInquiry(bytes, leg) }
    }

    @Test("The prefill engine is asked for its id first; of several ranks the attempts use each")
    func inquiry() throws {
        #expect(
            connector.inquiry(try leg(chat, .chatCompletions)) == SideRequest(method: "GET", port: 8998, path: "/query")
        )
        #expect(try inquire(#"{"0":{"engine_id":"e0","worker_addr":{"0":{"0":"x"}}}}"#) == PeerIdentity(engineID: "e0"))
        let two = #"{"1":{"engine_id":"e1"} , "0":{"engine_id":"e0"}}"#
        #expect(try inquire(two, attemptID: 4) == PeerIdentity(engineID: "e1", rank: 1))
        #expect(try inquire(two, attemptID: 5) == PeerIdentity(engineID: "e0", rank: 0))
    }

    @Test(
        "Answers that name no engine",
        arguments: [
            "", "{}", "[]", #"{"0":{}}"#, #"{"0":{"engine_id":""}}"#, #"{"0":{"engine_id":5}}"#,
            #"{"x":{"engine_id":"e"}}"#, #"{"-1":{"engine_id":"e"}}"#, #"{"0":"e"}"#, #"{"0":{"engine_id":"e"}"#,
            #"{"0":{"engine_id":"e"},"1":null}"#,
        ]
    )
    func noEngine(answer: String) {
        #expect(throws: BadAnswer.self) { try inquire(answer) }
    }

    @Test("The legs share a transfer's id, and the decode is told where the prefill is")
    func bodies() throws {
        let peer = PeerIdentity(engineID: "e\"1", rank: 3)
        let leg = try leg(chat, .chatCompletions, prefill: "fd00::1", peer: peer)
        #expect(
            leg.prefillBody(connector)
                == #"{\#(caps),"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"transfer_id":"xfer-0123456789abcdef"},\#(rest)"#
        )
        #expect(
            leg.decodeBody(connector)
                == #"{"kv_transfer_params":{"do_remote_decode":false,"do_remote_prefill":true,"remote_bootstrap_addr":"http://[fd00::1]:8998","remote_engine_id":"e\"1","transfer_id":"xfer-0123456789abcdef"},\#(rest)"#
        )
        #expect(connector.prefillHeaders(leg).map { "\($0.name): \($0.value)" } == ["X-data-parallel-rank: 3"])
        #expect(try leg.read(done, connector) == Handover(cachedTokens: 4))
        #expect(
            try OrchestrationTests.leg(#"{"token_ids":[1],"sampling_params":{"n":2}}"#, .generate).suitability(
                connector
            )
                == .decodeAlone("n is 2")
        )
    }
}

@Suite("offloading")
struct OffloadingConnectorTests {
    private let connector = OffloadingConnector()

    @Test("Each leg is told the other's role; the port counts the rank")
    func bodies() throws {
        let leg = try leg(
            #"{"token_ids":[1]}"#,
            .generate,
            prefill: "fd00::1",
            peer: PeerIdentity(engineID: "", rank: 2)
        )
        #expect(connector.order == .serial)
        let handover = try leg.read(done, connector)
        #expect(handover.cachedTokens == 4)
        #expect(connector.inquiry(leg) == nil)
        #expect(
            leg.prefillBody(connector)
                == #"{"stream":false,"sampling_params":{"max_tokens":1,"extra_args":{"kv_transfer_params":{"remote_decoder":{"kv_request_id":"apus-0123456789abcdef"}}}},"token_ids":[1]}"#
        )
        #expect(
            leg.decodeBody(connector, handover)
                == #"{"sampling_params":{"extra_args":{"kv_transfer_params":{"remote_prefiller":{"kv_request_id":"apus-0123456789abcdef","remote_host":"fd00::1","remote_port":7779}}}},"token_ids":[1]}"#
        )
        let plain = try OrchestrationTests.leg(chat, .chatCompletions)
        #expect(
            plain.decodeBody(connector, try plain.read(done, connector))
                == #"{"kv_transfer_params":{"remote_prefiller":{"kv_request_id":"apus-0123456789abcdef","remote_host":"10.0.0.1","remote_port":7777}},\#(rest)"#
        )
    }
}

@Suite("trtllm")
struct TRTLLMConnectorTests {
    private let connector = TRTLLMConnector()
    private let parameters =
        #"{"request_type": "context_only", "ctx_request_id": 9007199254740993123, "first_gen_tokens": [7], "encoded_opaque_state": "AAE=", "new": {"a": 1.0}}"#
    private let generation =
        #"{"request_type": "generation_only", "ctx_request_id": 9007199254740993123, "first_gen_tokens": [7], "encoded_opaque_state": "AAE=", "new": {"a": 1.0}}"#

    @Test("The context leg names the request by a number that no server gives out")
    func prefill() throws {
        let leg = try leg(
            #"{"model":"m","prompt":"p","max_completion_tokens":50,"stream":true}"#,
            .completions,
            attemptID: 5
        )
        #expect(connector.order == .serial)
        #expect(
            leg.prefillBody(connector)
                == #"{"max_tokens":1,"disaggregated_params":{"request_type":"context_only","disagg_request_id":4398046511109},"model":"m","prompt":"p","stream":false}"#
        )
        let large = try OrchestrationTests.leg(chat, .chatCompletions, attemptID: .max).prefillBody(connector)
        #expect(large.contains(#""disagg_request_id":9223372036854775807}"#))
    }

    @Test("The parameters come back with another type, from the top or the first choice")
    func decode() throws {
        let body = #"{"model":"m","prompt":"p","max_tokens":7,"max_completion_tokens":50}"#
        let leg = try leg(body, .completions)
        let top = try leg.read(
            #"{"choices":[{"finish_reason":"length"}],"prompt_token_ids":[1, 2],"disaggregated_params": \#(parameters)}"#,
            connector
        )
        #expect(!top.isFinal)
        #expect(text(top.parameters) == parameters)
        #expect(
            leg.decodeBody(connector, top)
                == #"{"disaggregated_params":\#(generation),"model":"m","prompt":[1, 2],"max_tokens":50}"#
        )
        let inside = try leg.read(
            #"{"disaggregated_params":null,"choices":[{"finish_reason":"not_finished","disaggregated_params":\#(parameters)}]}"#,
            connector
        )
        #expect(text(inside.parameters) == parameters)
        let chatLeg = try OrchestrationTests.leg(chat, .chatCompletions)
        #expect(chatLeg.decodeBody(connector, inside) == #"{"disaggregated_params":\#(generation),\#(rest)"#)
        #expect(
            chatLeg.decodeBody(connector, top)
                == #"{"disaggregated_params":\#(generation),"prompt_token_ids":[1, 2],\#(rest)"#
        )
    }

    @Test("Parameters without a type get one")
    func noType() throws {
        let leg = try leg(chat, .chatCompletions)
        let handover = try leg.read(#"{"disaggregated_params":{"disagg_request_id":5}}"#, connector)
        #expect(
            leg.decodeBody(connector, handover)
                == #"{"disaggregated_params":{"request_type":"generation_only","disagg_request_id":5},\#(rest)"#
        )
    }

    @Test("A text that ends with its first token is all there is", arguments: ["stop", "tool_calls"])
    func final(reason: String) throws {
        let choice = #""finish_reason":"\#(reason)""#
        let state = #""disaggregated_params":{"opaque_state":"}\"]"}"#
        let rest = #""a":1,"b":[2]"#
        let wanted = #"{"choices":[{\#(choice)}],\#(rest)}"#
        let same = [
            wanted, #"{\#(state),"choices":[{\#(choice)}],\#(rest)}"#,
            #"{"choices":[{\#(choice)}],\#(rest), \#(state)}"#,
            #"{"choices":[{\#(choice)}],"a":1,\#(state),"b":[2]}"#, #"{"choices":[{\#(state), \#(choice)}],\#(rest)}"#,
            #"{ \#(state),"choices":[{\#(choice), \#(state)}],\#(rest)}"#,
            #"{"choices":[{\#(state),\#(state),\#(choice),\#(state),\#(state)}],\#(rest)}"#,
        ]
        for given in same {
            let handover = try leg(chat, .chatCompletions).read(given, connector)
            #expect(handover.isFinal)
            let answer = try #require(handover.answer)
            #expect(text(answer).replacing(" ", with: "") == wanted, "\(given)")
        }
    }

    @Test("Where such a text is no answer to the client, the generation server does it all")
    func finalUnused() throws {
        let body = #"{"model":"m","prompt":"p","stream":true,"max_completion_tokens":5}"#
        #expect(try leg(body, .completions).decodeBody(connector, Handover(isFinal: true)) == body)
    }

    @Test(
        "Answers without parameters that can be used",
        arguments: failures + [
            done, #"{"disaggregated_params":{}}"#, #"{"disaggregated_params":"x"}"#,
            #"{"disaggregated_params":{"ctx_request_id":null}}"#,
            #"{"disaggregated_params":{"ctx_request_id":1,"ctx_request_id":2}}"#,
            #"{"disaggregated_params":{"ctx_request_id":1},"prompt_token_ids":["x"]}"#,
            #"{"disaggregated_params":{"ctx_request_id":1},"prompt_token_ids":7}"#,
            #"{"choices":[{"finish_reason":"length","disaggregated_params":null}]}"#,
        ]
    )
    func failed(answer: String) throws {
        #expect(throws: BadAnswer.self) { try leg(chat, .chatCompletions).read(answer, TRTLLMConnector()) }
    }

    @Test("APIs without such parameters, and several sequences, are the generation server's alone")
    func suitability() throws {
        #expect(try leg(chat, .chatCompletions).suitability(connector) == .suitable)
        guard case .decodeAlone = try leg(#"{"token_ids":[1]}"#, .generate).suitability(connector),
            case .decodeAlone = try leg(#"{"model":"m","prompt":"p","n":2}"#, .completions).suitability(connector)
        else {
            Issue.record("split all the same")
            return
        }
    }
}

@Suite("Connectors by name")
struct ConnectorRegistryTests {
    @Test("Each name of the configuration has its connector, and each connector takes any bytes for an answer")
    func names() throws {
        var kinds: Set<String> = []
        for name in OrchestrationSettings.ConnectorName.allCases {
            var settings = OrchestrationSettings()
            settings.connector = name
            let connector = ConnectorRegistry.connector(settings)
            kinds.insert("\(type(of: connector))")
            // Truncated at every byte, with a byte changed at every place.
            let answer = Array(
                #"{"choices":[{"finish_reason":"length"}],"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[[1]]},"disaggregated_params":{"ctx_request_id":1}}"#
                    .utf8
            )
            let leg = try leg(chat, .chatCompletions)
            for place in answer.indices {
                for changed in [Array(answer[..<place]), answer[..<place] + [0x22] + answer[(place + 1)...]] {
                    changed.withRawSpan { _ = try? connector.readPrefill($0, leg) }
                }
            }
        }
        #expect(kinds.count == 6)
    }
}
