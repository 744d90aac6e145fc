import Bytes
import Inference
import Orchestration
import Testing

private let connectors: [any EncodeConnector] = [ECExampleConnector(), ECNIXLConnector()]
private let image = #"{"type":"image_url","image_url":{"url":"http://h/a.png","detail":"low"}}"#
private let sound = #"{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}"#

private func primers(_ body: String, _ api: InferenceAPI, model: String? = nil) throws -> [String] {
    let leg = try leg(body, api, model: model)
    let all = connectors.map { connector in
        connector.items(of: leg.request, in: leg.body).map {
            String(repairing: connector.body(of: $0, leg).joined().bytes)
        }
    }
    #expect(all[0] == all[1])
    for primer in all[0] {
        #expect(try InferenceRequest.read(ByteBuffer(copying: primer.utf8), api: .chatCompletions).maxTokens == 1)
    }
    return all[0]
}

private func primer(_ part: String, model: String = "m", more: String = "") -> String {
    #"{"model":"\#(model)","messages":[{"role":"user","content":[\#(part)]}],"max_tokens":1,"stream":false\#(more)}"#
}

private func chat(_ parts: String..., more: String = "") -> String {
    #"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"x"},\#(parts.joined(separator: " , "))]}]\#(more)}"#
}

@Suite("Encode legs")
struct EncodeConnectorTests {
    @Test("Each image, video and sound of a chat is asked for as it stands, by the target model's name")
    func chatItems() throws {
        let video = #"{"video_url":{"url":"http:\/\/h\/v"},"type":"video_url"}"#
        let audio = #"{"type":"audio_url","audio_url":{"url":"http://h/s","x":12345678901234567890}}"#
        let bare = #"{"type":"image_url","image_url":"http://h/bare"}"#
        #expect(
            try primers(chat(image, sound, video, audio, bare), .chatCompletions, model: "t\"")
                == [image, sound, video, audio, bare].map { primer($0, model: "t\\\"") }
        )
    }

    @Test("How media are read goes along")
    func processing() throws {
        let more = #","mm_processor_kwargs":{"a":1.0},"media_io_kwargs":{"video":{"num_frames":8}},"temperature":0"#
        #expect(
            try primers(chat(image, more: more), .chatCompletions)
                == [
                    primer(
                        image,
                        more: #","mm_processor_kwargs":{"a":1.0},"media_io_kwargs":{"video":{"num_frames":8}}"#
                    )
                ]
        )
    }

    @Test("What is mentioned twice is asked for once")
    func unique() throws {
        let again = #"{"image_url":{"url":"http://h/a.png"},"type":"image_url"}"#
        let other = #"{"type":"image_url","image_url":{"url":"http://h/b.png"}}"#
        #expect(try primers(chat(image, again, other, sound, sound), .chatCompletions).count == 3)
    }

    @Test("Responses and messages are asked for as chat parts of the same URL")
    func converted() throws {
        let responses =
            #"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"t"},{"type":"input_image","image_url":"http://h/a.png"},{"type":"input_image","file_id":"f"},{"type":"input_video","video_url":"http://h/v"},\#(sound)]},{"type":"reasoning"}]}"#
        #expect(
            try primers(responses, .responses) == [
                primer(#"{"type":"image_url","image_url":{"url":"http://h/a.png"}}"#),
                primer(#"{"type":"video_url","video_url":{"url":"http://h/v"}}"#), primer(sound),
            ]
        )
        let messages =
            #"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://h/a"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAA="}},{"type":"image","source":{"type":"file","file_id":"f"}},{"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"http://h/b"}}]}]}]}"#
        #expect(
            try primers(messages, .messages) == [
                primer(#"{"type":"image_url","image_url":{"url":"http://h/a"}}"#),
                primer(#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAA="}}"#),
                primer(#"{"type":"image_url","image_url":{"url":"http://h/b"}}"#),
            ]
        )
    }

    @Test(
        "Requests without media have no items",
        arguments: [
            (.generate, #"{"token_ids":[1],"messages":[{"content":[\#(image)]}]}"#),
            (.completions, #"{"model":"m","prompt":"p"}"#),
            (.responses, #"{"model":"m","input":"p"}"#),
            (
                .chatCompletions,
                #"{"model":"m","messages":[{"content":"\"type\":\"image_url\""},5,[],{"content":[5,{}]}]}"#
            ),
            (.chatCompletions, #"{"model":"m","messages":[{"content":[{"type":"image_url"},{"type":7}]}]}"#),
            (.messages, #"{"model":"m","messages":[{"content":[{"type":"image"},{"type":"image","source":7}]}]}"#),
        ] as [(InferenceAPI, String)]
    )
    func none(api: InferenceAPI, body: String) throws {
        #expect(try primers(body, api) == [])
    }

    @Test("No request makes more legs than an engine could ever take items")
    func limit() throws {
        let many = (0..<300).map { #"{"type":"image_url","image_url":{"url":"http://h/\#($0)"}}"# }
        #expect(try primers(chat(many.joined(separator: ",")), .chatCompletions).count == 256)
    }
}

@Suite("ec-nixl and ec-example")
struct EncodeAnswerTests {
    private let connector = ECNIXLConnector()
    private let old =
        #"{"peer_host": "h", "peer_port": 5, "size_bytes": 9007199254740993123, "nixl_agent_metadata_b64": "AA=="}"#
    private let new =
        #"{"item_indices":[0],"metadata":{"image_grid_thw":[[1,2,3]]},"peer_host":"::1","peer_port":65535,"size_bytes":7}"#

    private func read(_ parameters: String) throws(BadAnswer) -> [(hash: String, value: [UInt8])] {
        try Array(#"{"choices":[],"ec_transfer_params":\#(parameters)}"#.utf8)
            .withRawSpan { bytes throws(BadAnswer) in try connector.read(bytes) }
    }

    @Test("What encoders say of their items is merged by hash, byte for byte, in both versions' forms")
    func merged() throws {
        let results = try read(#"{"h1": \#(old), "h\"2":\#(new)}"#) + read(#"{"h1":{"peer_host":"x","peer_port":1}}"#)
        let leg = try leg(chat(image, more: #","cache_hit_threshold":0.5"#), .chatCompletions)
        let body = leg.edited { connector.edit(leg, with: results, &$0) }
        #expect(
            body
                == #"{"ec_transfer_params":{"h1":\#(old),"h\"2":\#(new)},"#
                + chat(image, more: #","cache_hit_threshold":0"#).dropFirst()
        )
    }

    @Test(
        "Answers that name no place to fetch an item from",
        arguments: [
            "null", "{}", "[]", #"{"h":null}"#, #"{"h":{}}"#, #"{"h":{"peer_host":"","peer_port":5}}"#,
            #"{"h":{"peer_host":"x","peer_port":0}}"#, #"{"h":{"peer_host":"x"}}"#,
            #"{"":{"peer_host":"x","peer_port":5}}"#,
            #"{"h":{"peer_host":"x","peer_port":5},"h":{"peer_host":"y","peer_port":5}}"#,
            #"{"h":{"peer_host":"x","peer_host":"y","peer_port":5}}"#, #"{"h":{"peer_host":"x","peer_port":5}"#,
            "5,\"ec_transfer_params\":{}",
            #"{"h":{"peer_host":"x","peer_port":5,"a":\#(String(repeating: "[", count: 40) + String(repeating: "]", count: 40))}}"#,
        ]
    )
    func hostile(parameters: String) {
        #expect(throws: BadAnswer.self) { try read(parameters) }
    }

    @Test("A primer of shared storage leaves nothing but word that it worked")
    func example() throws {
        let connector = ECExampleConnector()
        let answer = Array(#"{"choices":[{"finish_reason":"length"}]}"#.utf8)
        let results = try answer.withRawSpan { bytes throws(BadAnswer) in try connector.read(bytes) }
        #expect(results.isEmpty)
        let bad = Array(#"{"error":{}}"#.utf8)
        #expect(throws: BadAnswer.self) {
            try bad.withRawSpan { bytes throws(BadAnswer) in try connector.read(bytes) }
        }
        let leg = try leg(chat(image), .chatCompletions)
        #expect(
            leg.edited { connector.edit(leg, with: [], &$0) }
                == #"{"cache_hit_threshold":0,"# + chat(image).dropFirst()
        )
    }

    @Test("Each name of the configuration has its connector")
    func names() {
        var settings = OrchestrationSettings()
        #expect(ConnectorRegistry.encodeConnector(settings) == nil)
        settings.encodeConnector = .example
        #expect(ConnectorRegistry.encodeConnector(settings) is ECExampleConnector)
        settings.encodeConnector = .nixl
        #expect(ConnectorRegistry.encodeConnector(settings) is ECNIXLConnector)
    }
}
