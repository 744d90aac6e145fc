import Bytes
import Testing

@testable import Inference

@Suite struct MultimodalPartsTests {
    private func count(_ body: String, _ api: InferenceAPI = .chatCompletions) throws -> Int {
        let buffer = ByteBuffer(copying: body.utf8)
        return MultimodalParts(in: try InferenceRequest.read(buffer, api: api), buffer).count
    }

    @Test("Images, videos and sounds of each API are counted, however the JSON is spaced")
    func counted() throws {
        let parts =
            #"{"type":"text","text":"x"},{"type" : "image_url"},{ "url":1,"type":"# + "\n"
            + #""video_url"},{"type":"input_audio"}"#
        #expect(try count(#"{"model":"m","messages":[{"role":"user","content":[\#(parts)]}]}"#) == 3)
        #expect(
            try count(#"{"model":"m","input":[{"type":"message","content":[{"type":"input_image"}]}]}"#, .responses)
                == 1
        )
        #expect(
            try count(
                #"{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{}}]}]}"#,
                .messages
            ) == 1
        )
    }

    @Test(
        "Text that speaks of them is not",
        arguments: [
            #""{\"type\":\"image_url\"}""#, #"[{"type":"text","text":"\"type\":\"image_url\""}]"#, #""type""#,
            #"[{"type":"text","text":"image_url"}]"#, #"[{"type":"image_ur"}]"#, #"[{"type":"image_url\n"}]"#,
            #"[{"type":null}]"#,
            #"["type","image_url"]"#, #"[{"a\"type":"image_url"}]"#,
        ]
    )
    func notCounted(content: String) throws {
        #expect(try count(#"{"model":"m","messages":[{"role":"user","content":\#(content)}]}"#) == 0)
    }

    @Test("Only the prompt is looked at")
    func promptOnly() throws {
        #expect(try count(#"{"model":"m","messages":[{}],"metadata":{"type":"image_url"}}"#) == 0)
    }
}
