internal import Bytes
internal import Inference

/// The images, videos and sounds in a prompt, as the encoders can be asked for them: by way of the chat API.
///
/// Chat parts go as they are. The pictures and videos of responses (`input_image`, `input_video`) and the pictures of messages (`image`, also
/// in tool results) are written as chat parts of the same URL, so that the engine makes the same of them as it will in the prompt. A prompt
/// of token ids has none.
enum MediaParts {
    /// Items beyond are left to the engine that computes the prompt.
    static let maxItems = 256

    /// A part's media, told by places in the body.
    private enum Media {
        /// A part of the chat API; `identity` is what makes two the same.
        case chat(identity: Range<Int>)
        /// A URL, quotes included, for a chat part of that type.
        case url(Range<Int>, type: StaticString)
        /// The insides of two texts: the type and the data in Base64.
        case data(type: Range<Int>, Range<Int>)

        var identity: Range<Int> {
            switch self {
            case .chat(let identity): identity
            case .url(let range, _), .data(_, let range): range
            }
        }
    }

    /// The parts, each media once, in the order of their first mention.
    static func find(in request: InferenceRequest, _ body: SharedBytes) -> [EncodeItem] {
        let bytes = body.bytes
        var found: [EncodeItem] = []
        var seen: [UInt64: [Range<Int>]] = [:]
        forEachPart(of: request, bytes) { part in
            guard let identity = media(of: part, bytes, request.api)?.identity else { return true }
            let content = bytes.extracting(identity)
            let hash = XXH3.hash(content)
            let isKnown = seen[hash]?.contains { bytes.extracting($0).isEqual(to: content) } == true
            if !isKnown {
                seen[hash, default: []].append(identity)
                found.append(EncodeItem(range: part))
            }
            return found.count < maxItems
        }
        return found
    }

    /// The item as a part of the chat API.
    static func append(
        _ item: EncodeItem,
        _ request: InferenceRequest,
        _ body: SharedBytes,
        to output: inout PiecedBytes
    ) {
        switch media(of: item.range, body.bytes, request.api) {
        case .chat, nil:
            output.append(body, item.range)
        case .url(let url, let type):
            output.append(Array(#"{"type":"\#(type)","\#(type)":{"url":"#.utf8))
            output.append(body, url)
            output.append(Array("}}".utf8))
        case .data(let type, let data):
            output.append(Array(#"{"type":"image_url","image_url":{"url":"data:"#.utf8))
            output.append(body, type)
            output.append(Array(";base64,".utf8))
            output.append(body, data)
            output.append(Array(#""}}"#.utf8))
        }
    }

    // MARK: Parts

    private static func forEachPart(
        of request: InferenceRequest,
        _ bytes: RawSpan,
        _ visit: (Range<Int>) -> Bool
    ) {
        let name: RequestMembers.Name
        switch request.api {
        case .chatCompletions, .messages: name = .messages
        case .responses: name = .input
        default: return
        }
        guard let messages = request.members[name], messages.kind == .array else { return }
        var goesOn = true
        JSONParts.forEachElement(of: bytes, from: messages.valueRange.lowerBound) { message in
            forEachPart(ofContentIn: message, bytes) { part in
                goesOn = visit(part)
                if goesOn, request.api == .messages, type(of: part, bytes) == "tool_result" {
                    forEachPart(ofContentIn: part, bytes) { inner in
                        goesOn = visit(inner)
                        return goesOn
                    }
                }
                return goesOn
            }
            return goesOn
        }
    }

    private static func forEachPart(ofContentIn object: Range<Int>, _ bytes: RawSpan, _ visit: (Range<Int>) -> Bool) {
        guard let content = JSONParts.member("content", of: bytes, from: object.lowerBound) else { return }
        JSONParts.forEachElement(of: bytes, from: content.valueRange.lowerBound, visit)
    }

    private static func media(of part: Range<Int>, _ bytes: RawSpan, _ api: InferenceAPI) -> Media? {
        guard let type = type(of: part, bytes) else { return nil }
        switch (type, api) {
        case ("image_url", .chatCompletions), ("video_url", .chatCompletions), ("audio_url", .chatCompletions):
            return chatMedia(part, type, "url", bytes)
        case ("input_audio", .chatCompletions), ("input_audio", .responses):
            return chatMedia(part, type, "data", bytes)
        case ("input_image", .responses):
            return text("image_url", in: part, bytes).map { .url($0, type: "image_url") }
        case ("input_video", .responses):
            return text("video_url", in: part, bytes).map { .url($0, type: "video_url") }
        case ("image", .messages):
            return source(of: part, bytes)
        default:
            return nil
        }
    }

    /// `{"type":T,T:{KEY:"…"}}`; some clients write the text right there.
    private static func chatMedia(_ part: Range<Int>, _ type: String, _ key: String, _ bytes: RawSpan) -> Media? {
        guard let value = JSONParts.member(type, of: bytes, from: part.lowerBound)?.valueRange else { return nil }
        return .chat(identity: text(key, in: value, bytes) ?? value)
    }

    private static func source(of part: Range<Int>, _ bytes: RawSpan) -> Media? {
        guard let source = JSONParts.member("source", of: bytes, from: part.lowerBound)?.valueRange else { return nil }
        switch type(of: source, bytes) {
        case "url":
            return text("url", in: source, bytes).map { .url($0, type: "image_url") }
        case "base64":
            guard let type = text("media_type", in: source, bytes), let data = text("data", in: source, bytes) else {
                return nil
            }
            return .data(type: inside(type), inside(data))
        default:
            return nil
        }
    }

    private static func type(of object: Range<Int>, _ bytes: RawSpan) -> String? {
        guard let value = JSONParts.member("type", of: bytes, from: object.lowerBound)?.valueRange, value.count <= 64
        else { return nil }
        return JSONParts.string(value, in: bytes)
    }

    /// A member that is a text, quotes included.
    private static func text(_ name: String, in object: Range<Int>, _ bytes: RawSpan) -> Range<Int>? {
        guard let value = JSONParts.member(name, of: bytes, from: object.lowerBound)?.valueRange,
            bytes[value.lowerBound] == UInt8(ascii: "\"")
        else { return nil }
        return value
    }

    private static func inside(_ text: Range<Int>) -> Range<Int> {
        text.lowerBound + 1..<text.upperBound - 1
    }
}
