import Bytes
import Inference
import Testing

@Suite struct BadRequestTests {
    @Test(
        "The member that the API requires must be there",
        arguments: [
            (.completions, "{}", "invalid completions request: must have prompt field"),
            (.completions, #"{"prompt":""}"#, "invalid completions request: must have prompt field"),
            (.completions, #"{"prompt":[]}"#, "invalid completions request: must have prompt field"),
            (.completions, #"{"prompt":{}}"#, "invalid completions request: must have prompt field"),
            (.chatCompletions, "{}", "invalid chat completions request: must have valid messages field"),
            (
                .chatCompletions, #"{"messages":"x"}"#,
                "invalid chat completions request: must have valid messages field"
            ),
            (.chatCompletions, #"{"messages":[]}"#, "invalid chat completions request: must have valid messages field"),
            (.responses, "{}", "invalid responses request: must have input field"),
            (.responses, #"{"input":null}"#, "invalid responses request: must have input field"),
            (.conversations, #"{"items":[]}"#, "invalid conversations request: must have items field"),
            (.embeddings, #"{"input":""}"#, "invalid embeddings request: must have input field"),
            (.messages, #"{"messages":{}}"#, "invalid messages request: must have at least one message"),
        ] as [(InferenceAPI, String, String)]
    )
    func requiredMember(api: InferenceAPI, members: String, message: String) {
        let body = #"{"model":"m""# + (members == "{}" ? "}" : "," + members.dropFirst())
        #expect(problem(body, api) == message)
        // The model comes first.
        #expect(problem(members, api) == "model not found in request body")
    }

    @Test("The model must be a string, which may be empty", arguments: ["1", "null", "true", "[\"m\"]", "{}"])
    func model(value: String) {
        #expect(problem(#"{"model":\#(value),"prompt":"p"}"#) == "model not found in request body")
        #expect(problem(#"{"model":"","prompt":"p"}"#) == nil)
    }

    @Test(
        "A second member of a name that decides is refused, whatever the API",
        arguments: [
            "model", "prompt", "messages", "input", "stream", "stream_options", "n", "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
        ]
    )
    func duplicates(name: String) {
        let body = #"{"model":"m","prompt":"p","\#(name)":1,"x":2,"\#(name)":1}"#
        #expect(problem(body) == jsonProblem + "duplicate member \"\(name)\"")
    }

    @Test(
        "Other duplicates pass, and the last one counts",
        arguments: ["tools", "cache_salt", "user", "kv_transfer_params"]
    )
    func otherDuplicates(name: String) throws {
        let request = try read(#"{"\#(name)":"a","model":"m","prompt":"p","\#(name)":"b"}"#)
        #expect(request.cacheSalt == (name == "cache_salt" ? "b" : nil))
    }

    @Test(
        "What is not one JSON object is refused",
        arguments: [
            "", " ", "\n", "no healthy upstream", "null", "[]", "1", "\"x\"", "{", "}", "{]", "{}{}", "{} x", "{},",
            "{}\u{0}",
            "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,\"a\":1}", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "{a:1}", "{'a':1}",
            "{1:1}",
            "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1 2]}", "{\"a\":[1}", "{\"a\":[1}]", "{\"a\":1]", "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.1}", "{\"a\":+1}", "{\"a\":-}", "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":0x1}", "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":tru}", "{\"a\":truex}", "{\"a\":nul}", "{\"a\":TRUE}", "{\"a\":1true}", "{\"a\":\"b\"c}",
            "{\"a\":\"b\"\"c\"}",
            "{\"a\":1\"c\"}", "{\"a\":\"", "{\"a\":\"b", "{\"a\":\"b\\\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\n\"}", "{\"a\":\"\t\"}", "{\"a\":\"\u{0}\"}", "\u{feff}{}", "{\u{feff}\"a\":1}",
            "{\"a\":\u{a0}1}", "{//c\n}",
            "{\"a\":[{\"b\":tru}]}", "{\"a\":[{\"b\":\"\\q\"}]}", "{\"a\":[{\"b\":1.e1}]}", "{\"a\":1\u{c}}",
            "{\"\\q\":1}",
        ]
    )
    func invalidJSON(body: String) {
        #expect(problem(body)?.hasPrefix(jsonProblem) == true, "\(problem(body) ?? "accepted")")
    }

    @Test("Every strict prefix of a body is refused, and so is the body with a byte behind it")
    func truncation() {
        let body = #"{"model":"m","prompt":["a\u00e9\"","b"],"x":{"y":[1,-2.5e3,true,null]},"n":1}"#
        #expect(problem(body) == nil)
        for length in 0..<body.utf8.count {
            #expect(problem(Array(body.utf8.prefix(length)))?.hasPrefix(jsonProblem) == true, "length \(length)")
        }
        #expect(problem(body + "}")?.hasPrefix(jsonProblem) == true)
        #expect(problem(body + " \n\t\r") == nil)
    }

    @Test(
        "Invalid UTF-8 is refused anywhere",
        arguments: [
            [0xFF], [0xC0, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x80],
            [0xF0, 0x9F, 0x98],
        ]
            as [[UInt8]]
    )
    func invalidUTF8(bytes: [UInt8]) {
        for padding in [0, 1, 60, 64, 200] {
            let filler = String(repeating: "x", count: padding)
            let body = Array(#"{"model":"m","prompt":"\#(filler)"#.utf8) + bytes + Array(#"\#(filler)"}"#.utf8)
            #expect(problem(body)?.hasPrefix(jsonProblem) == true)
        }
        #expect(problem(Array(#"{"model":"m","prompt":"p"}"#.utf8) + bytes)?.hasPrefix(jsonProblem) == true)
    }

    @Test("Escapes are checked at every place of a long string, in every lane of a block")
    func escapesAnywhere() {
        for position in 0..<200 {
            let before = String(repeating: "x", count: position)
            let after = String(repeating: "y", count: 200 - position)
            func body(_ escape: String) -> String { #"{"model":"m","prompt":"\#(before)\#(escape)\#(after)"}"# }
            for good in [#"\n"#, #"\\"#, #"\""#, #"\\\""#, #"\u00e9"#, #"\ud800"#, #"\\\\\\\\\\"#] {
                #expect(problem(body(good)) == nil, "\(good) at \(position)")
            }
            for bad in [#"\q"#, #"\u00g0"#, #"\\\x"#, #"\n\ "#] {
                #expect(problem(body(bad))?.hasPrefix(jsonProblem) == true, "\(bad) at \(position)")
            }
        }
    }

    @Test("Deep nesting is refused without recursion, and what is below the limit passes")
    func depth() {
        func body(_ depth: Int, _ open: String, _ close: String) -> String {
            #"{"model":"m","prompt":"p","x":\#(String(repeating: open, count: depth))1\#(String(repeating: close, count: depth))}"#
        }
        #expect(problem(body(9_999, "[", "]")) == nil)
        #expect(problem(body(9_999, #"{"a":"#, "}")) == nil)
        for depth in [10_000, 100_000, 1_000_000] {
            #expect(problem(body(depth, "[", "]"))?.hasPrefix(jsonProblem + "exceeded the nesting depth") == true)
        }
        #expect(problem(String(repeating: "{\"a\":", count: 100_000))?.hasPrefix(jsonProblem) == true)
        #expect(problem(String(repeating: "[", count: 100_000))?.hasPrefix(jsonProblem) == true)
    }

    @Test("Nested brackets close in the order in which they opened")
    func mismatchedBrackets() {
        #expect(problem(#"{"model":"m","prompt":"p","x":[{"a":[{}]}]}"#) == nil)
        #expect(problem(#"{"model":"m","prompt":"p","x":[{"a":[{}}]]}"#)?.hasPrefix(jsonProblem) == true)
        #expect(problem(#"{"model":"m","prompt":"p","x":[{"a":[{]}]}]}"#)?.hasPrefix(jsonProblem) == true)
    }

    @Test("Numbers of any size and lone surrogates are no error")
    func largeNumbers() {
        let digits = String(repeating: "9", count: 5_000)
        #expect(problem(#"{"model":"m","prompt":"p","seed":\#(digits),"f":1e999999,"s":"\ud800"}"#) == nil)
    }

    @Test("Large bodies are read, and the next small one too")
    func largeBodies() throws {
        let prompt = String(repeating: "lorem ipsum \\n", count: 400_000)
        #expect(try read(#"{"model":"m","prompt":"\#(prompt)"}"#).promptByteCount == prompt.utf8.count)
        #expect(try read(#"{"model":"m","prompt":"p"}"#).promptByteCount == 1)
    }
}
