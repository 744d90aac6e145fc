import Bytes
import Inference
import Testing

@Suite struct EventTailTests {
    private func usage(_ pieces: [String]) -> TokenUsage? {
        var tail = EventTail()
        for piece in pieces { Array(piece.utf8).withRawSpan { tail.keep($0) } }
        return tail.finish()
    }

    private static let filler = (0..<400).map { "data: {\"choices\":[{\"index\":0,\"text\":\" word\($0)\"}]}\n\n" }
    private static let usageEvent =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":400,"
        + "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
    private static let expected = TokenUsage(promptTokens: 7, completionTokens: 400, cachedTokens: 4)

    @Test(
        "The usage at the end of a long stream is found, in whatever pieces it comes",
        arguments: [1, 7, 100, 5000, 100_000]
    )
    func atEnd(size: Int) {
        let text = Self.filler.joined() + Self.usageEvent + "data: [DONE]\n\n"
        var pieces: [String] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            pieces.append(String(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        #expect(usage(pieces) == Self.expected)
    }

    @Test("What the first piece tells of the prompt is kept")
    func atBeginning() {
        let start =
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n"
        let end = "event: message_delta\ndata: {\"usage\":{\"output_tokens\":15}}\n\n"
        #expect(usage([start] + Self.filler + [end]) == TokenUsage(promptTokens: 25, completionTokens: 15))
        #expect(usage([start + end]) == TokenUsage(promptTokens: 25, completionTokens: 15))
    }

    @Test(
        "An event that is longer than what is sure to be kept is kept whole",
        arguments: [1_000, 5_000, 60_000, 900_000]
    )
    func longEvent(byteCount: Int) {
        let text = String(repeating: "answer ", count: byteCount / 7)
        let event =
            "event: response.completed\r\ndata: {\"type\":\"response.completed\",\"response\":{\"object\":\"response\",\"usage\":"
            + "{\"input_tokens\":7,\"output_tokens\":400,\"input_tokens_details\":{\"cached_tokens\":4}},"
            + "\"text\":\"\(text)\"}}\r\n\r\n"
        for size in [100, 4096, 62_000, 2_000_000] {
            var pieces = Self.filler
            var rest = Substring(event)
            while !rest.isEmpty {
                pieces.append(String(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(usage(pieces + ["data: [DONE]\n\n"]) == Self.expected, "\(byteCount) in pieces of \(size)")
        }
    }

    @Test("A stream without usage, or without anything, has none")
    func none() {
        #expect(usage(Self.filler) == nil)
        #expect(usage([]) == nil)
        #expect(usage(["data: {\"usage\":", "null}\n\n"]) == nil)
    }
}
