import Bytes
import Inference
import Testing

@Suite struct ParserSelectionTests {
    private func api(_ body: String, _ path: String?, _ types: [String] = ParserSelection.defaultTypes) throws
        -> InferenceAPI?
    {
        try ParserSelection(types: types).parse(buffer(body), path: path)?.api
    }

    private func problem(_ body: String, _ path: String?, _ types: [String]) -> String? {
        do {
            _ = try ParserSelection(types: types).parse(buffer(body), path: path)
            return nil
        } catch {
            return error.message
        }
    }

    @Test(
        "The path says which parser reads a request; what no parser claims is passed through unread",
        arguments: [
            ("/v1/completions", #"{"model":"m","prompt":"p"}"#, .completions),
            ("/v1/completions/render?x=/v1/messages", #"{"model":"m","prompt":"p"}"#, .completions),
            ("/v1/chat/completions/render/", #"{"model":"m","messages":[1]}"#, .chatCompletions),
            ("/v1/images/generations", #"{"model":"m","prompt":"p"}"#, .imageGenerations),
            ("/v1/audio/speech", #"{"model":"m","input":"p"}"#, .speech),
            ("/v1/messages", #"{"model":"m","messages":[1]}"#, .messages),
            ("/tenant/inference/v1/generate", #"{"model":"m","token_ids":[1,2]}"#, .generate),
            ("/v1/images/edits", "--boundary", nil),
            ("/v1/messages/count_tokens", "{", nil),
            ("/tokenize", "anything", nil),
            ("", #"{"model":"m","prompt":"p"}"#, .completions),
            (nil, #"{"model":"m","prompt":"p"}"#, .completions),
        ] as [(String?, String, InferenceAPI?)]
    )
    func byPath(path: String?, body: String, expected: InferenceAPI?) throws {
        #expect(try api(body, path) == expected)
    }

    @Test("A parser alone reads every path, each in its own way")
    func single() throws {
        #expect(try api(#"{"model":"m","prompt":"p"}"#, "/tokenize", ["openai-parser"]) == .completions)
        #expect(
            try api(#"{"model":"m","messages":[1]}"#, "/v1/chat/completions", ["vllmhttp-parser"]) == .chatCompletions
        )
        #expect(try api(#"{"token_ids":[1]}"#, "/inference/v1/generate", ["vllmhttp-parser"]) == .generate)
        #expect(try api("no json", "/v1/completions", ["passthrough-parser"]) == nil)
        #expect(problem("{}", "/v1/completions?x", ["anthropic-parser"]) == "unsupported API endpoint: /v1/completions")
        #expect(problem("{}", "/v1/completions", ["vllmgrpc-parser"]) == "unsupported gRPC path: /v1/completions")
    }

    @Test("Without a parser for everything, a path that nobody claims is refused; parsers behind it are not asked")
    func unclaimed() throws {
        let types = ["openai-parser", "anthropic-parser"]
        #expect(problem("{}", "/x", types) == "no parser registered matching path suffix for: /x")
        let shadowed = ["passthrough-parser", "openai-parser"]
        #expect(try api("no json", "/v1/completions", shadowed) == nil)
    }

    @Test("A generate request's prompt is its token ids, and it need not name a model")
    func generate() throws {
        let body =
            #"{"token_ids": [11, 22,33], "sampling_params": {"max_tokens": 9}, "stream": true, "cache_salt": "s"}"#
        let request = try #require(try ParserSelection.default.parse(buffer(body), path: "/inference/v1/generate"))
        #expect(request.model.isEmpty && request.modelRange.isEmpty)
        #expect(request.promptRanges.map { text(body, $0) } == ["[11, 22,33]"])
        #expect(request.estimatedPromptTokens == 3)
        #expect(request.maxTokens == 9)
        #expect(request.stream)
        #expect(request.cacheSalt == "s")

        let named = #"{"token_ids": [1], "model": "m"}"#
        let other = try #require(try ParserSelection.default.parse(buffer(named), path: "/inference/v1/generate"))
        #expect(text(named, other.modelRange) == #""m""#)
    }

    @Test(
        "A generate request without usable token ids or with an odd model is refused",
        arguments: [
            (#"{"model":"m"}"#, "invalid generate request: must have non-empty token_ids field"),
            (#"{"token_ids":[]}"#, "invalid generate request: must have non-empty token_ids field"),
            (#"{"token_ids":"1"}"#, "invalid generate request: must have non-empty token_ids field"),
            (#"{"token_ids":[1],"model":1}"#, "model not found in request body"),
            (#"{"token_ids":[1],"token_ids":[2]}"#, jsonProblem + #"duplicate member "token_ids""#),
        ]
    )
    func badGenerate(body: String, message: String) {
        #expect(problem(body, "/inference/v1/generate", ParserSelection.defaultTypes) == message)
    }

    @Test("A null model of a generate request is none")
    func nullModel() throws {
        #expect(try api(#"{"token_ids":[1],"model":null}"#, "/inference/v1/generate") == .generate)
    }
}
