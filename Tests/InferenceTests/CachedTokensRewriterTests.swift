import Bytes
import Inference
import Testing

private func rewritten(
    _ chunks: [[UInt8]],
    _ format: CachedTokensRewriter.Format,
    count: Int = 64
) -> (body: String, replaced: Bool) {
    var rewriter = CachedTokensRewriter(cachedTokens: count, format: format)
    return run(&rewriter, chunks)
}

private func run(_ editor: inout some ResponseEditor, _ chunks: [[UInt8]]) -> (body: String, replaced: Bool) {
    var output: [UInt8] = []
    var replaced = false
    for (index, chunk) in chunks.enumerated() {
        chunk.withRawSpan { bytes in
            guard let result = editor.process(bytes, isLast: index == chunks.count - 1) else {
                output += chunk
                return
            }
            replaced = true
            output += result.bytes.copied()
        }
    }
    return (String(decoding: output, as: UTF8.self), replaced)
}

/// The body in one piece, in single bytes, and cut in two and three at every place.
private func splits(_ body: String) -> [[[UInt8]]] {
    let bytes = Array(body.utf8)
    var all: [[[UInt8]]] = [[bytes], bytes.map { [$0] }, bytes.map { [$0] } + [[]]]
    for split in 0...bytes.count {
        let second = min(bytes.count, split + 7)
        all.append([Array(bytes[..<split]), Array(bytes[split...])])
        all.append([Array(bytes[..<split]), Array(bytes[split..<second]), Array(bytes[second...]), []])
    }
    return all
}

@Suite struct CachedTokensRewriterTests {
    @Test(
        "The prefill's count stands in the usage of a JSON body, and all else as it was",
        arguments: [
            (
                #" {"id":"usage","choices":[{"text":"\"usage\":{}","usage":{"prompt_tokens":1}}], "usage": {"prompt_tokens": 199, "prompt_tokens_details": {"cached_tokens": 0, "created_cache_tokens": null} , "x":9007199254740993123},"kv":null} "#,
                #" {"id":"usage","choices":[{"text":"\"usage\":{}","usage":{"prompt_tokens":1}}], "usage": {"prompt_tokens": 199, "prompt_tokens_details": {"cached_tokens": 64, "created_cache_tokens": null} , "x":9007199254740993123},"kv":null} "#
            ),
            (
                #"{"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}"#,
                #"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":64}}}"#
            ),
            (
                #"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{}}}"#,
                #"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":64}}}"#
            ),
            (
                #"{"usage":{"prompt_tokens":9}}"#,
                #"{"usage":{"prompt_tokens_details":{"cached_tokens":64},"prompt_tokens":9}}"#
            ),
            (#"{"usage":{}}"#, #"{"usage":{"prompt_tokens_details":{"cached_tokens":64}}}"#),
            (
                #"{"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":null},"output_tokens":8}}"#,
                #"{"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":64},"output_tokens":8}}"#
            ),
        ]
    )
    func json(body: String, expected: String) {
        for chunks in splits(body) { #expect(rewritten(chunks, .json).body == expected) }
    }

    @Test(
        "What has no such usage passes untouched",
        arguments: [
            "", "{}", "[]", "null", "text", #"{"usage":null}"#, #"{"usage":5}"#, #"{"usage":[{"prompt_tokens":1}]}"#,
            #"{"a":{"usage":{"prompt_tokens":1}}}"#, #"{"usage":{"prompt_tokens":1"#,
            #"{"usage":{"prompt_tokens_details":{"cached_tokens":64}}}"#,
            #"{"usage":{"input_tokens":25,"cache_read_input_tokens":40,"output_tokens":1}}"#,
            #"{"usage":{"prompt_tokens":01}}"#,
        ]
    )
    func untouched(body: String) {
        for chunks in splits(body) { #expect(rewritten(chunks, .json).body == body) }
        #expect(!rewritten([Array(body.utf8)], .json).replaced)
    }

    @Test("The same in a stream of events, in whichever of them", arguments: ["\n", "\r\n"])
    func events(newline: String) {
        let before = [
            #"data: {"id":"1","choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],"usage":null}"#, "",
            "event: usage", #"data:{"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":5}}}"#, "",
            #": data: {"usage":{"prompt_tokens":1}}"#,
            #"data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":10}}"#, "",
            #"data: {"usage":{"prompt_tokens":7"#, "", "data: [DONE]", "", "",
        ].joined(separator: newline)
        let after = [
            #"data: {"id":"1","choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],"usage":null}"#, "",
            "event: usage", #"data:{"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":64}}}"#, "",
            #": data: {"usage":{"prompt_tokens":1}}"#,
            #"data: {"choices":[],"usage":{"prompt_tokens_details":{"cached_tokens":64},"prompt_tokens":7,"completion_tokens":10}}"#,
            "", #"data: {"usage":{"prompt_tokens":7"#, "", "data: [DONE]", "", "",
        ].joined(separator: newline)
        for chunks in splits(before) { #expect(rewritten(chunks, .eventStream).body == after) }
    }

    @Test("Events of the Responses API have their usage in the response")
    func responses() {
        let before = #"""
            event: response.completed
            data: {"type":"response.completed","response":{"output":[{"usage":{"input_tokens":1}}],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":32}}},"sequence_number":4}


            """#
        let after = before.replacing(#""cached_tokens":32"#, with: #""cached_tokens":64"#)
        for chunks in splits(before) { #expect(rewritten(chunks, .eventStream).body == after) }
    }

    @Test("No more is held back than a usage may be long")
    func bounded() {
        var rewriter = CachedTokensRewriter(cachedTokens: 64, format: .json)
        let start = Array(#"{"usage":{"prompt_tokens":1,"x":""#.utf8)
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1024)
        var given = start.count
        var sent = start.withRawSpan { rewriter.process($0, isLast: false)?.count ?? start.count }
        for _ in 0..<64 {
            sent += piece.withRawSpan { rewriter.process($0, isLast: false)?.count ?? piece.count }
            given += piece.count
            #expect(given - sent <= 8192)
        }
        #expect(sent == given)
        let long =
            #"{"usage":{"prompt_tokens":1,"x":"\#(String(repeating: "x", count: 9000))"},"usage":{"prompt_tokens":2}}"#
        let expected = long.replacing(
            #""usage":{"prompt_tokens":2}"#,
            with: #""usage":{"prompt_tokens_details":{"cached_tokens":64},"prompt_tokens":2}"#
        )
        for size in [1, 100, 5000, 20_000] {
            let bytes = Array(long.utf8)
            let chunks = stride(from: 0, to: bytes.count, by: size).map {
                Array(bytes[$0..<min($0 + size, bytes.count)])
            }
            #expect(rewritten(chunks, .json).body == expected, "pieces of \(size)")
        }
    }

    @Test("Editors work one behind the other, split at any place")
    func chained() {
        let before =
            #"data: {"model":"target","usage":{"prompt_tokens":7,"model":"target"},"model": "target"}"# + "\n\n"
        let after =
            #"data: {"model":"m","usage":{"prompt_tokens_details":{"cached_tokens":64},"prompt_tokens":7,"model":"m"},"model": "m"}"#
            + "\n\n"
        for chunks in splits(before) {
            var editors = ResponseEditors([ModelNameRestorer(from: "target", to: "m")])
            editors.append(CachedTokensRewriter(cachedTokens: 64, format: .eventStream))
            #expect(run(&editors, chunks).body == after)
            var others = ResponseEditors([
                CachedTokensRewriter(cachedTokens: 64, format: .eventStream),
                ModelNameRestorer(from: "target", to: "m"),
            ])
            #expect(run(&others, chunks).body == after)
        }
        var none = ResponseEditors()
        #expect(none.isEmpty)
        #expect(!run(&none, [Array(before.utf8)]).replaced)
    }
}
