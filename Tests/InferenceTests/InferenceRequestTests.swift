import Bytes
import Inference
import Testing

@Suite struct InferenceRequestTests {
    @Test("A completions request is located in its body")
    func completions() throws {
        let body = #"{"max_tokens":100,"model":"my-model","prompt":"hello world","temperature":0,"stream":true}"#
        let request = try read(body)
        #expect(request.api == .completions)
        #expect(request.model == "my-model")
        #expect(text(body, request.modelRange) == #""my-model""#)
        #expect(request.stream)
        #expect(!request.includesUsage)
        #expect(request.maxTokens == 100)
        #expect(request.choices == 1)
        #expect(request.cacheSalt == nil)
        #expect(request.promptRanges.map { text(body, $0) } == ["hello world"])
        #expect(request.promptByteCount == 11)
        #expect(request.estimatedPromptTokens == 2)
        let limit = try #require(request.members[.maxTokens])
        #expect(text(body, limit.keyRange) == #""max_tokens""#)
        #expect(text(body, limit.valueRange) == "100")
        #expect(request.members[.messages] == nil)
    }

    @Test(
        "The prompt is what the API's members hold, in the order in which the model sees it",
        arguments: [
            (.completions, #"{"model":"m","prompt":"a \n b"}"#, [#"a \n b"#]),
            (.completions, #"{"model":"m","prompt":["a", "b"]}"#, [#"["a", "b"]"#]),
            (.chatCompletions, #"{"model":"m", "messages" : [ {"role":"user"} ] }"#, [#"[ {"role":"user"} ]"#]),
            (
                .responses, #"{"input":"q","model":"m","tools":[1],"instructions":"be kind"}"#,
                ["be kind", "[1]", "q"]
            ),
            (.responses, #"{"input":"","model":"m","tools":null}"#, [""]),
            (.conversations, #"{"items":[{}],"model":"m"}"#, ["[{}]"]),
            (.embeddings, #"{"input":["x"],"model":"m"}"#, [#"["x"]"#]),
            (.messages, #"{"messages":[{}],"model":"m","system":"s","tools":[]}"#, ["s", "[]", "[{}]"]),
        ] as [(InferenceAPI, String, [String])]
    )
    func prompt(api: InferenceAPI, body: String, prompt: [String]) throws {
        let request = try read(body, api)
        #expect(request.promptRanges.map { text(body, $0) } == prompt)
        #expect(request.promptByteCount == prompt.reduce(0) { $0 + $1.utf8.count })
    }

    @Test(
        "Token ids are counted, text is estimated as a quarter of its bytes",
        arguments: [
            ("[1,2,3]", 3), ("[[1,2],[3,4,5]]", 5), (#""0123456789""#, 2), (#"["0123","4567"]"#, 3), (#"[1,"x"]"#, 1),
        ]
    )
    func estimate(prompt: String, tokens: Int) throws {
        #expect(try read(#"{"model":"m","prompt":\#(prompt)}"#).estimatedPromptTokens == tokens)
    }

    @Test(
        "Members of the wrong type count as absent",
        arguments: [
            #""stream":"true""#, #""stream":1"#, #""max_tokens":"5""#, #""max_tokens":-5"#, #""max_tokens":1e300"#,
            #""max_tokens":1.5"#, #""max_tokens":99999999999999999999999999"#, #""stream_options":true"#,
            #""stream_options":{"include_usage":"yes"}"#, #""cache_salt":7"#, #""n":-1"#, #""n":"2""#,
            #""max_tokens":null"#,
        ]
    )
    func wrongTypes(member: String) throws {
        let request = try read(#"{"model":"m","prompt":"p",\#(member)}"#)
        #expect(!request.stream)
        #expect(!request.includesUsage)
        #expect(request.maxTokens == nil)
        #expect(request.cacheSalt == nil)
        #expect(request.choices == 1)
    }

    @Test(
        "The limit of output tokens comes from the member that decides",
        arguments: [
            (.completions, #""max_tokens":5"#, 5),
            (.completions, #""max_tokens":5.0e1"#, 50),
            (.completions, #""max_output_tokens":5"#, nil),
            (.chatCompletions, #""max_tokens":5,"max_completion_tokens":7"#, 7),
            (.chatCompletions, #""max_tokens":5,"max_completion_tokens":null"#, 5),
            (.responses, #""max_output_tokens":9007199254740992"#, 9_007_199_254_740_992),
            (.responses, #""max_output_tokens":9007199254740993"#, nil),
            (.messages, #""max_tokens":0"#, 0),
        ] as [(InferenceAPI, String, Int?)]
    )
    func tokenLimit(api: InferenceAPI, members: String, limit: Int?) throws {
        let body = #"{"model":"m","prompt":"p","messages":[{}],"input":"i",\#(members)}"#
        #expect(try read(body, api).maxTokens == limit)
    }

    @Test("Options are read: usage in the stream, the number of answers, the cache's salt")
    func options() throws {
        let request = try read(
            #"{"model":"m","prompt":"p","stream_options":{"x":[{"include_usage":0}],"include_usage":true},"n":3,"cache_salt":"s\u00e9"}"#
        )
        #expect(request.includesUsage)
        #expect(request.choices == 3)
        #expect(request.cacheSalt == "s\u{e9}")
    }

    @Test(
        "Escapes in the model's name are decoded",
        arguments: [
            (#"a\/b"#, "a/b"), (#"\u0061\n\t\"\\"#, "a\n\t\"\\"), (#"\ud83d\ude00"#, "😀"), (#"\ud83d!"#, "\u{fffd}!"),
            (#"\ude00"#, "\u{fffd}"), (#"\ud83d\u0041"#, "\u{fffd}A"), ("ключ", "ключ"), ("", ""),
        ]
    )
    func modelEscapes(written: String, name: String) throws {
        #expect(try read(#"{"model":"\#(written)","prompt":"p"}"#).model == name)
    }

    @Test("An escaped key is the member that it means")
    func escapedKeys() throws {
        #expect(try read(#"{"mod\u0065l":"m","\u0070\u0072\u006f\u006d\u0070\u0074":"p"}"#).model == "m")
        #expect(problem(#"{"model":"m","mod\u0065l":"n","prompt":"p"}"#)?.hasPrefix(jsonProblem) == true)
        #expect(problem(#"{"mode\l":"m","prompt":"p"}"#)?.hasPrefix(jsonProblem) == true)
    }

    @Test("Members inside other values are not the request's")
    func nestedMembers() throws {
        let body = #"{"metadata":{"model":"x","stream":true},"l":[{"model":1}],"model":"m","prompt":"p"}"#
        let request = try read(body)
        #expect(request.model == "m")
        #expect(!request.stream)
    }

    @Test(
        "A model is found in the first bytes of a body as soon as they hold it",
        arguments: [
            (#"{"n":12,"model" : "a\u0062c", "prompt":"abc d"}"#, #","#),
            (" \n\t\r " + #"{"model":"abc","tools":[{"a":[1,-2.5e3]}],"x":{"y":"z"}} "#, #","tools""#),
        ]
    )
    func partial(body: String, following: String) throws {
        let all = InferenceRequest.readPartial(buffer(body))
        let whole = try #require(all)
        #expect(whole.model == "abc")
        #expect(body.utf8.dropFirst(whole.modelRange.upperBound).starts(with: following.utf8))
        for length in 0..<body.utf8.count {
            let found = InferenceRequest.readPartial(buffer(String(body.prefix(length))))
            #expect(found?.model == (length < whole.modelRange.upperBound ? nil : "abc"), "\(length) bytes")
            if let found { #expect(found.modelRange == whole.modelRange) }
        }
    }

    @Test(
        "Nothing is found in the start of what is no object, or in what names the model twice",
        arguments: [
            "", " ", "[\"model\",\"m\"", "{\"model\":1,", "nothing", "{\"model\":\"a\",\"model\":\"b\"", "}", "\"",
        ]
    )
    func partialWithoutModel(body: String) {
        #expect(InferenceRequest.readPartial(buffer(body)) == nil)
    }

    @Test("The members that only a picker may set are told apart, and found")
    func pickersOwnMembers() throws {
        let own: [(RequestMembers.Name, String)] = [
            (.kvTransferParams, "kv_transfer_params"), (.ecTransferParams, "ec_transfer_params"),
            (.bootstrapHost, "bootstrap_host"), (.bootstrapPort, "bootstrap_port"), (.bootstrapRoom, "bootstrap_room"),
            (.disaggregatedParams, "disaggregated_params"),
        ]
        #expect(RequestMembers.Name.allCases.filter(\.isPickersOwn) == own.map(\.0))
        for (name, text) in own {
            let request = try read(#"{"model":"m","\#(text)":null,"prompt":"p"}"#)
            #expect(request.members.present.contains { $0.name == name && $0.name.isPickersOwn })
        }
    }

    @Test("Every name is found as it is on the wire", arguments: RequestMembers.Name.allCases)
    func names(name: RequestMembers.Name) throws {
        let body = #"{"first":0,"\#(name.text)":[1,"a",{"b":2}],"last":{}}"#
        let found = try RequestMembersProbe.read(body, name)
        #expect(found.map { text(body, $0.valueRange) } == #"[1,"a",{"b":2}]"#)
        #expect(found?.elementCount == 3)
        #expect(found?.numberCount == 2)
        #expect(found?.stringCount == 1)
    }
}

/// Finds one member by the name on the wire, with a reader of its own.
private enum RequestMembersProbe {
    static let reader = JSONReader(names: RequestMembers.Name.allCases.map(\.text))

    static func read(_ body: String, _ name: RequestMembers.Name) throws -> JSONMember? {
        try reader.read(buffer(body).bytes) { $0[Int(name.rawValue)] }
    }
}
