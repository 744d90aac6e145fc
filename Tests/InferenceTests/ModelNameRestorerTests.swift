import Bytes
import Inference
import Testing

/// The body that comes out, and whether any chunk was replaced.
private func restored(
    _ chunks: [[UInt8]],
    from target: String = "my-model-v2",
    to incoming: String = "my-model"
) -> (body: String, replaced: Bool) {
    var restorer = ModelNameRestorer(from: target, to: incoming)
    var output: [UInt8] = []
    var replaced = false
    for (index, chunk) in chunks.enumerated() {
        chunk.withRawSpan { bytes in
            let result = restorer.process(bytes, isLast: index == chunks.count - 1)
            if let result {
                replaced = true
                output += result.bytes.copied()
            } else {
                output += chunk
            }
        }
    }
    return (String(decoding: output, as: UTF8.self), replaced)
}

@Suite struct ModelNameRestorerTests {
    @Test("The target's name is replaced in every member model, split at any place")
    func everySplit() {
        let body = #"""
            data: {"id":"1","model":"my-model-v2","choices":[{"text":"\"model\":\"my-model-v2\""}]}

            data: {"model": "my-model-v2","response":{"model":"my-model-v2"}}"model":"model":"my-model-v2"

            """#
        let expected = #"""
            data: {"id":"1","model":"my-model","choices":[{"text":"\"model\":\"my-model-v2\""}]}

            data: {"model": "my-model","response":{"model":"my-model"}}"model":"model":"my-model"

            """#
        let bytes = Array(body.utf8)
        #expect(restored([bytes]).body == expected)
        #expect(restored(bytes.map { [$0] }).body == expected)
        for split in 0...bytes.count {
            #expect(restored([Array(bytes[..<split]), Array(bytes[split...])]).body == expected, "split at \(split)")
            #expect(restored([Array(bytes[..<split]), Array(bytes[split...]), []]).body == expected)
            let second = min(bytes.count, split + 5)
            let three = [Array(bytes[..<split]), Array(bytes[split..<second]), Array(bytes[second...])]
            #expect(restored(three).body == expected, "split at \(split), \(second)")
        }
    }

    @Test(
        "Other names, other members and other spacing pass as they are",
        arguments: [
            #"{"model":"my-model-v20"}"#, #"{"model":"my-model-v"}"#, #"{"model":  "my-model-v2"}"#,
            #"{"Model":"my-model-v2"}"#,
            #"{"model" :"my-model-v2"}"#, #"{"model":["my-model-v2"]}"#, #"{"xmodel":"my-model-v2"}"#, "",
            #"{"model":"my-mod"#,
            #"{"model":"#, #"""#,
        ]
    )
    func untouched(body: String) {
        let bytes = Array(body.utf8)
        let whole = restored([bytes])
        #expect(whole.body == body)
        #expect(!whole.replaced)
        for split in 0...bytes.count {
            #expect(restored([Array(bytes[..<split]), Array(bytes[split...])]).body == body)
        }
        #expect(restored(bytes.map { [$0] } + [[]]).body == body)
    }

    @Test("No more is held back than a name that may have been cut")
    func holdBack() {
        var restorer = ModelNameRestorer(from: "target", to: "m")
        func send(_ text: String, isLast: Bool = false) -> String? {
            Array(text.utf8).withRawSpan { bytes in
                guard let output = restorer.process(bytes, isLast: isLast) else { return nil }
                return String(repairing: output.bytes)
            }
        }
        #expect(send("data: {\"text\":\"hello\"}\n\n") == nil)
        #expect(send(#"{"id":1,"mod"#) == #"{"id":1,"#)
        #expect(send("el") == "")
        #expect(send(#"":"tar"#) == "")
        #expect(send(#"mac","model":"t"#) == #""model":"tarmac","#)
        #expect(send("", isLast: true) == #""model":"t"#)
    }

    @Test("Names with quotes, backslashes and other letters are matched and written as JSON")
    func escapes() {
        let body = #"{"model":"a\"b\\c/é"}"#
        #expect(restored([Array(body.utf8)], from: #"a"b\c/é"#, to: "x\"\n").body == #"{"model":"x\"\n"}"#)
    }

    @Test("Equal names change nothing")
    func equalNames() {
        let body = Array(#"{"model":"m"}"#.utf8)
        #expect(!restored([body, body], from: "m", to: "m").replaced)
    }
}
