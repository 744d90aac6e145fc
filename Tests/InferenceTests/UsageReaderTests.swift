import Bytes
import Inference
import Testing

private func usage(_ format: UsageReader.Format, _ chunks: [[UInt8]]) -> UsageReader {
    var reader = UsageReader(format: format)
    for chunk in chunks { chunk.withRawSpan { reader.consume($0) } }
    reader.finish()
    return reader
}

private func usage(_ format: UsageReader.Format, _ chunks: String...) -> UsageReader {
    usage(format, chunks.map { Array($0.utf8) })
}

private let openAI = TokenUsage(promptTokens: 7, completionTokens: 10, cachedTokens: 4)

private let chat = """
    data: {"id":"c","choices":[{"delta":{"content":"a \\"usage\\": {\\"prompt_tokens\\":99} \\\\"}}],"usage":null}\n
    data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10,\
    "prompt_tokens_details":{"cached_tokens":4}}}\n
    data: [DONE]\n\n
    """

private let anthropic = """
    event: message_start
    data: {"type":"message_start","message":{"id":"m","content":[{"usage":{"input_tokens":99}}],\
    "usage":{"input_tokens":25,"cache_creation_input_tokens":3,"cache_read_input_tokens":40,"output_tokens":1}}}

    event: content_block_delta
    data: {"type":"content_block_delta","delta":{"text":"data: {}"}}

    event: message_delta
    data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}

    event: message_stop
    data: {"type":"message_stop"}


    """

private let responses = """
    event: response.created\r
    data: {"type":"response.created","response":{"id":"r","usage":null}}\r
    \r
    event: response.completed\r
    data: {"type":"response.completed","response":{"output":[{"usage":{"input_tokens":1}}],"usage":{"input_tokens":36,\
    "input_tokens_details":{"cached_tokens":32},"output_tokens":87,"total_tokens":123}},"sequence_number":4}\r
    \r

    """

@Suite struct UsageReaderTests {
    @Test(
        "Usage is read from one JSON document, whatever the API",
        arguments: [
            (
                #"{"object":"text_completion","choices":[{"text":"}"}],"usage":{"prompt_tokens":7,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}}"#,
                openAI
            ),
            (
                #"{"usage" : { "prompt_tokens" : 7.0, "completion_tokens":1e1, "prompt_token_details":{"cached_tokens":4} } , "x":1}"#,
                openAI
            ),
            (
                #"{"usage":{"prompt_tokens":5,"prompt_tokens_details":null,"total_tokens":5}}"#,
                TokenUsage(promptTokens: 5)
            ),
            (
                #"{"object":"response","usage":{"input_tokens":7,"output_tokens":10,"input_tokens_details":{"cached_tokens":4}}}"#,
                openAI
            ),
            (
                #"{"type":"message","usage":{"input_tokens":1,"output_tokens":10,"cache_read_input_tokens":4,"cache_creation_input_tokens":2}}"#,
                openAI
            ),
            (#"{"a":{"usage":{"prompt_tokens":1}},"usage":{"prompt_tokens":2}}"#, TokenUsage(promptTokens: 2)),
            (#"{"a":["usage",{"usage":{"prompt_tokens":1}}]}"#, nil),
            (#"{"a":{"usage":{"prompt_tokens":1}}}"#, nil),
            (#"{"a":"usage","usage":null}"#, nil),
            (#"{"a":"\"usage\":{\"prompt_tokens\":1}"}"#, nil),
            (#"{"\"usage":{"prompt_tokens":1}}"#, nil),
            (#"[{"usage":{"prompt_tokens":1}}]"#, nil),
            (#""usage":{"prompt_tokens":1}"#, nil),
            ("no healthy upstream", nil),
            ("", nil),
        ] as [(String, TokenUsage?)]
    )
    func json(body: String, expected: TokenUsage?) {
        let bytes = Array(body.utf8)
        #expect(usage(.json, [bytes]).usage == expected)
        #expect(usage(.json, bytes.map { [$0] }).usage == expected)
        for split in 0...bytes.count {
            #expect(
                usage(.json, [Array(bytes[..<split]), Array(bytes[split...])]).usage == expected,
                "split at \(split)"
            )
        }
    }

    @Test(
        "Values that no server counts are ignored",
        arguments: [
            #""x""#, "null", "[]", "{}", "true", #"{"prompt_tokens":"7"}"#, #"{"prompt_tokens":-1}"#,
            #"{"prompt_tokens":1e300}"#,
            #"{"prompt_tokens":1.5}"#, #"{"prompt_tokens":99999999999999999999999}"#, #"{"prompt_tokens":null}"#,
            #"{"prompt_tokens":[1]}"#, #"{"prompt_tokens":01}"#, #"{"prompt_tokens":}"#,
            #"{"prompt_tokens_details":7}"#,
            #"{"prompt_tokens_details":{"cached_tokens":"4"}}"#,
        ]
    )
    func hostileValues(value: String) {
        let result = usage(.json, #"{"usage":\#(value)}"#).usage
        #expect(result == nil, "\(String(describing: result))")
        #expect(usage(.eventStream, "data: {\"usage\":\(value)}\n\n").usage == nil)
    }

    @Test("The largest counts of Anthropic's three kinds add up without overflow")
    func largeSum() {
        let big = 1 << 53
        let body =
            #"{"usage":{"input_tokens":\#(big),"cache_read_input_tokens":\#(big),"cache_creation_input_tokens":\#(big)}}"#
        #expect(usage(.json, body).usage?.promptTokens == 3 * big)
    }

    @Test(
        "Usage is read from events, split at any two places",
        arguments: [
            (chat, openAI, true),
            (anthropic, TokenUsage(promptTokens: 68, completionTokens: 15, cachedTokens: 40), false),
            (responses, TokenUsage(promptTokens: 36, completionTokens: 87, cachedTokens: 32), false),
        ] as [(String, TokenUsage, Bool)]
    )
    func events(body: String, expected: TokenUsage, done: Bool) {
        let bytes = Array(body.utf8)
        func check(_ chunks: [[UInt8]], _ place: String) {
            let result = usage(.eventStream, chunks)
            #expect(result.usage == expected, "\(place)")
            #expect(result.sawDone == done, "\(place)")
        }
        check([bytes], "whole")
        check(bytes.map { [$0] }, "single bytes")
        for split in 0...bytes.count {
            check([Array(bytes[..<split]), Array(bytes[split...])], "split at \(split)")
            let second = min(bytes.count, split + 7)
            check(
                [Array(bytes[..<split]), Array(bytes[split..<second]), Array(bytes[second...])],
                "split at \(split), \(second)"
            )
        }
    }

    @Test("A frame that begins with data: ends an unfinished line before it")
    func unfinishedLine() {
        let event = #"data: {"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}}"#
        let expected = TokenUsage(promptTokens: 7, completionTokens: 10)
        #expect(usage(.eventStream, "data: {}", event + "\ndata: [DONE]", "").usage == expected)
        #expect(usage(.eventStream, "data: {}", event + "\ndata: [DONE]", "").sawDone)
        #expect(usage(.eventStream, event, "data: {}", "data: [DONE]").usage == expected)
        #expect(usage(.eventStream, "data: {\"cut", event).usage == expected)
        #expect(usage(.eventStream, "data: {\"cut", event, "\n", "data: {}").usage == expected)
        #expect(usage(.eventStream, ": comment", event + "\n").usage == expected)
        #expect(usage(.eventStream, "data: {\"cut", "data: [DONE]").sawDone)
    }

    @Test("A string that is cut before data: is still one string")
    func dataInsideString() {
        let result = usage(
            .eventStream,
            #"data: {"response":{"output":"see "#,
            #"data: {}", "usage":{"input_tokens":3,"output_tokens":4}}}"# + "\n\n"
        )
        #expect(result.usage == TokenUsage(promptTokens: 3, completionTokens: 4))
    }

    @Test(
        "Only [DONE] is the end",
        arguments: ["data: [DONE", "data: DONE]", "x: [DONE]", "data: {\"a\":\"[DONE]\"}", "[DONE]"]
    )
    func notDone(line: String) {
        #expect(!usage(.eventStream, line + "\n\n").sawDone)
    }

    @Test("What a reader keeps does not grow with a hostile usage object")
    func oversizedUsage() {
        var reader = UsageReader(format: .json)
        let start = Array(#"{"usage":{"prompt_tokens":1,"x":""#.utf8)
        start.withRawSpan { reader.consume($0) }
        let filler = [UInt8](repeating: UInt8(ascii: "y"), count: 1 << 16)
        for _ in 0..<64 { filler.withRawSpan { reader.consume($0) } }
        Array(#""},"usage":{"prompt_tokens":2}}"#.utf8).withRawSpan { reader.consume($0) }
        reader.finish()
        // The first is too large to be one.
        #expect(reader.usage == TokenUsage(promptTokens: 2))
    }

    @Test("Brackets without end and without beginning are followed without harm")
    func hostileStructure() {
        let closing = String(repeating: "}]", count: 10_000)
        let opening = String(repeating: "{\"a\":[", count: 50_000)
        #expect(usage(.json, closing, #"{"usage":{"prompt_tokens":1}}"#).usage == nil)
        #expect(usage(.json, opening, #""usage":{"prompt_tokens":1}"#).usage == nil)
        #expect(
            usage(.eventStream, "data: " + closing + "\ndata: {\"usage\":{\"prompt_tokens\":1}}\n").usage?.promptTokens
                == 1
        )
    }
}
