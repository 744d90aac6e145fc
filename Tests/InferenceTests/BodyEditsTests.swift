import Bytes
import Inference
import Testing

@Suite struct BodyEditsTests {
    private func edited(
        _ body: String,
        _ edit: (inout BodyEdits, InferenceRequest) throws -> Void
    ) throws -> String {
        let input = buffer(body)
        let request = try InferenceRequest.read(input, api: .completions)
        var edits = BodyEdits()
        try edit(&edits, request)
        return text(edits.applied(to: input))
    }

    @Test("A replaced value changes nothing else, byte for byte")
    func replacement() throws {
        let before = "{ \"seed\" : 9007199254740993123 ,\n\"model\"\t: "
        let after = ",\"x\":{\"model\":\"m\",\"<&>\":1.50,\"u\":\"\\u0041\\ud800\"}, \"prompt\":\"p\"}\r\n"
        let result = try edited(before + "\"m\"" + after) { edits, request in
            edits.replaceValue(in: request.modelRange, with: JSONValue.quoted("a \"new\"\\ name\n"))
        }
        #expect(result == before + #""a \"new\"\\ name\n""# + after)
        #expect(try read(result).model == "a \"new\"\\ name\n")
    }

    @Test("Without edits the body comes out as it went in")
    func noEdits() throws {
        let body = " {\"model\":\"m\" , \"prompt\":\"p\"} "
        let output = try edited(body) { edits, _ in #expect(edits.isEmpty) }
        #expect(output == body)
    }

    @Test(
        "A removed member takes one comma with it",
        arguments: [
            ([.n], #"{"model":"m", "stream":true , "prompt":"p"}"#),
            ([.model], #"{ "n":1 ,"stream":true , "prompt":"p"}"#),
            ([.prompt], #"{"model":"m", "n":1 ,"stream":true }"#),
            ([.n, .stream], #"{"model":"m",  "prompt":"p"}"#),
            ([.prompt, .stream], #"{"model":"m", "n":1 }"#),
            ([.model, .prompt], #"{ "n":1 ,"stream":true }"#),
            ([.stream, .model, .n], #"{ "prompt":"p"}"#),
            ([.model, .n, .stream, .prompt], #"{}"#),
        ] as [([RequestMembers.Name], String)]
    )
    func removal(names: [RequestMembers.Name], result: String) throws {
        let body = #"{"model":"m", "n":1 ,"stream":true , "prompt":"p"}"#
        let output = try edited(body) { edits, request in
            for name in names { edits.remove(try #require(request.members[name])) }
        }
        #expect(output == result)
    }

    @Test("An inserted member comes first, with a comma only where something follows")
    func insertion() throws {
        let body = #" {"model":"m","prompt":"p"}"#
        let inserted = try edited(body) { edits, _ in
            edits.insert(name: "a\"b", value: "1".utf8)
            edits.insert(name: "c", value: "[2]".utf8)
        }
        #expect(inserted == #" {"a\"b":1,"c":[2],"model":"m","prompt":"p"}"#)
        let alone = try edited(body) { edits, request in
            for (_, member) in request.members.present { edits.remove(member) }
            edits.insert(name: "x", value: "true".utf8)
        }
        #expect(alone == #" {"x":true}"#)
        var edits = BodyEdits()
        edits.insert(name: "x", value: "1".utf8)
        #expect(text(edits.applied(to: buffer("{ }"))) == #"{"x":1 }"#)
    }

    @Test("Setting a member replaces its value, or adds it")
    func setting() throws {
        let body = #"{"model":"m","prompt":"p","max_tokens":77}"#
        let output = try edited(body) { edits, request in
            edits.set(.maxTokens, to: "1".utf8, in: request)
            edits.set(.stream, to: "false".utf8, in: request)
            edits.replaceValue(in: request.modelRange, with: JSONValue.quoted("target"))
        }
        #expect(output == #"{"stream":false,"model":"target","prompt":"p","max_tokens":1}"#)
    }

    private static let reader = JSONReader(names: ["model", "n", "prompt", "stream", "a", "b", "x"])

    @Test("Every choice of members can be removed and the rest is still an object")
    func everyRemoval() throws {
        let body = #"{ "model" : "m" , "a":1, "n":[1,{}], "prompt":"p,}" ,"b":{},"stream":false }"#
        let names: [RequestMembers.Name] = [.model, .n, .prompt, .stream]
        for choice in 0..<16 {
            let removed = names.enumerated().filter { choice >> $0.offset & 1 == 1 }.map(\.element)
            let output = try edited(body) { edits, request in
                for name in removed { edits.remove(try #require(request.members[name])) }
                edits.insert(name: "x", value: "1".utf8)
            }
            let known = try Self.reader.read(ByteBuffer(copying: output.utf8).bytes) { found in
                (0..<7).map { found[$0] != nil }
            }
            #expect(known == names.map { !removed.contains($0) } + [true, true, true])
        }
    }

    @Test(
        "A quoted text reads back as itself",
        arguments: ["", "plain", "q\"b\\s/", "\u{0}\u{1}\u{1f}\u{7f}", "\n\r\t\u{8}\u{c}", "é😀\u{2028}"]
    )
    func quoting(name: String) throws {
        let body = #"{"prompt":"p","model":\#(String(decoding: JSONValue.quoted(name), as: UTF8.self))}"#
        #expect(try read(body).model == name)
    }
}
