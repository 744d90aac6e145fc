import Bytes
import Testing

@testable import Inference

/// The beginning of pictures of 300 × 200 pixels.
private enum Pictures {
    static let png: [UInt8] =
        [0x89, 0x50, 0x4E, 0x47, 13, 10, 26, 10, 0, 0, 0, 13] + Array("IHDR".utf8) + [0, 0, 1, 44, 0, 0, 0, 200, 8, 6]
    static let gif: [UInt8] = Array("GIF89a".utf8) + [44, 1, 200, 0, 0, 0]
    /// The frame's header after a segment of that many bytes.
    static func jpeg(after count: Int = 14) -> [UInt8] {
        [0xFF, 0xD8, 0xFF, 0xE0, UInt8((count + 2) >> 8), UInt8((count + 2) & 255)] + Array(repeating: 7, count: count)
            + [0xFF, 0xC2, 0, 17, 8, 0, 200, 1, 44, 3, 0, 0, 0]
    }
    static let webP: [UInt8] =
        Array("RIFF".utf8) + [0, 0, 0, 0] + Array("WEBPVP8X".utf8) + [10, 0, 0, 0, 0, 0, 0, 0] + [43, 1, 0, 199, 0, 0]
    static let webPLossy: [UInt8] =
        Array("RIFF".utf8) + [0, 0, 0, 0] + Array("WEBPVP8 ".utf8) + [0, 0, 0, 0, 0, 0, 0, 0x9D, 0x01, 0x2A]
        + [44, 1, 200, 0]
    /// 14 bits each, less one.
    static let webPLossless: [UInt8] =
        Array("RIFF".utf8) + [0, 0, 0, 0] + Array("WEBPVP8L".utf8) + [0, 0, 0, 0, 0x2F]
        + [43, 0xC1, 49, 0, 0, 0, 0, 0, 0]
}

private func parts(_ content: String, _ api: InferenceAPI = .chatCompletions) throws -> (
    request: InferenceRequest, parts: MultimodalParts
) {
    let body = ByteBuffer(copying: #"{"model":"m","messages":[{"role":"user","content":\#(content)}]}"#.utf8)
    let request = try InferenceRequest.read(body, api: api)
    return (request, MultimodalParts(in: request, body))
}

@Suite("Images, videos and sounds in tokens")
struct MediaTests {
    @Test("The size of a picture is read from its first bytes")
    func sizes() {
        let expected = PixelSize(width: 300, height: 200)
        for picture in [
            Pictures.png, Pictures.gif, Pictures.jpeg(), Pictures.jpeg(after: 60_000), Pictures.webP,
            Pictures.webPLossy,
            Pictures.webPLossless,
        ] {
            #expect(PixelSize(picture: picture) == expected)
            // Whatever is missing, nothing is read beyond the end.
            for count in 0..<min(picture.count, 64) { _ = PixelSize(picture: Array(picture.prefix(count))) }
        }
        #expect(PixelSize(picture: Array("hello".utf8)) == nil)
        #expect(PixelSize(picture: [0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0]) == nil)
    }

    @Test("A data address counts by the picture's size, its bytes not as text; an address by the default")
    func images() throws {
        let estimate = MediaEstimate()
        // A real picture goes on for long after its beginning.
        let data = Base64.encode(Pictures.png + Array(repeating: 0, count: 100_000))
        let inline = #"{"type":"image_url","image_url":{"url":"data:image/png;base64,\#(data)"}}"#
        let (request, one) = try parts("[\(inline)]")
        #expect(one.images == 1 && one.inline.map(\.size) == [PixelSize(width: 300, height: 200)])
        #expect(estimate.tokens(of: one, VideoHints()) == 300 * 200 / 1024)
        let whole = estimate.tokens(of: request, one, VideoHints())
        #expect(whole > 58 && whole < 100)
        let (_, two) = try parts(#"[\#(inline),{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]"#)
        #expect(estimate.tokens(of: two, VideoHints()) == 58 + 640 * 360 / 1024)
    }

    @Test("An image of messages, and a sound, are told by their member data")
    func payloads() throws {
        let jpeg = Base64.encode(Pictures.jpeg(after: 3_000))
        let image = #"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"\#(jpeg)"}}"#
        let (_, one) = try parts("[\(image)]", .messages)
        #expect(one.inline.map(\.kind) == [.image])
        #expect(MediaEstimate().tokens(of: one, VideoHints()) == 58)
        // Two seconds of 16000 bytes.
        let sound = Base64.encode(Array(repeating: 1, count: 32_000))
        let (_, two) = try parts(#"[{"type":"input_audio","input_audio":{"data":"\#(sound)","format":"mp3"}}]"#)
        #expect(two.inline.map(\.kind) == [.sound])
        #expect((49...51).contains(MediaEstimate().tokens(of: two, VideoHints())))
        let text = String(repeating: "plain text ", count: 100)
        let (_, three) = try parts(#"[{"type":"image_url"},{"data":"\#(text)"}]"#)
        #expect(three.inline.isEmpty)
    }

    @Test("Escaped slashes in Base64 are passed over, and quoted JSON is text")
    func escapes() throws {
        let data = Base64.encode(Pictures.jpeg()).replacing("/", with: #"\/"#)
        let (_, one) = try parts(#"[{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,\#(data)"}}]"#)
        #expect(one.inline.map(\.size) == [PixelSize(width: 300, height: 200)])
        let (_, two) = try parts(#"[{"type":"image_url"},{"text":"\"data:image/png;base64,AAAA\""}]"#)
        #expect(two.inline.isEmpty)
    }

    @Test("Videos by sampled or strided frames, within their limits; what the client says goes first")
    func videos() throws {
        let (_, one) = try parts(#"[{"type":"video_url","video_url":{"url":"https://example.org/a.mp4"}}]"#)
        var estimate = MediaEstimate()
        #expect(estimate.tokens(of: one, VideoHints()) == 20 * 225)
        let hints = VideoHints { name in
            [
                "x-llm-d-video-duration-seconds": " 4.5", "x-llm-d-video-fps": "30",
                "x-llm-d-video-resolution": "1280x720",
            ][name]
        }
        #expect(estimate.tokens(of: one, hints) == 9 * 900)
        estimate.video.frames = .sampled(perSecond: 2, patch: 2)
        #expect(estimate.tokens(of: one, hints) == 4 * 900)
        estimate.video.frames = .strided(defaultPerSecond: 24, stride: 5)
        #expect(estimate.tokens(of: one, hints) == 27 * 900)
        #expect(estimate.tokens(of: one, VideoHints()) == 48 * 225)
        estimate.video.maxFrames = 10
        #expect(estimate.tokens(of: one, VideoHints()) == 10 * 225)
        estimate.video.minFrames = 40
        estimate.video.maxFrames = 0
        #expect(estimate.tokens(of: one, hints) == 40 * 900)
        estimate.video.frame.fixedTokens = 64
        #expect(estimate.tokens(of: one, hints) == 40 * 64)
        estimate.video.maxTokens = 1_000
        #expect(estimate.tokens(of: one, hints) == 1_000)
    }

    @Test("Headers of no use are passed over", arguments: ["", "x", "-1", "nan", "inf", "1e300"])
    func hints(value: String) {
        #expect(VideoHints { _ in value } == VideoHints())
        #expect(PixelSize("\(value)x720") == nil)
        #expect(PixelSize("0x0") == nil && PixelSize("99999999999x2") == nil)
    }

    @Test(
        "Token ids are counted in what a server renders",
        arguments: [
            (#"[{"token_ids": [1, 22,333 ], "sampling_params": {"stop_token_ids": [9]}}, {"token_ids":[4]}]"#, 4),
            (#"{"request_id":"a","token_ids":[5,6],"text":"\"token_ids\":[1,2,3]"}"#, 2),
            (#"{"token_ids": null}"#, nil), (#"{"token_ids": [1"#, nil), (#"{"token_ids": ["1"]}"#, nil),
            (#"{"token_ids": []}"#, nil), ("", nil), (#"{"error":"x"}"#, nil),
        ]
    )
    func tokenIDs(text: String, expected: Int?) {
        #expect(Array(text.utf8).withRawSpan { TokenIDs.count(in: $0) } == expected)
    }
}
