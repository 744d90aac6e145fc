package import Bytes

/// The images, videos and sounds in a prompt.
///
/// A part is recognised by its `"type"` member, wherever in the prompt it stands: those of the chat API (`image_url`, `video_url`, `audio_url`,
/// `input_audio`), of responses (`input_image`, `input_video`) and of messages (`image`), and the bare `video` and `audio`. Text that merely
/// quotes JSON does not count, since its quotes are escaped. Limits: a member name or type written with `\u` escapes is not seen; an object of
/// another kind in the prompt with such a type (a tool's result, say) is counted; images inside documents are not.
package struct MultimodalParts: Sendable, Equatable {
    package private(set) var images = 0
    package private(set) var videos = 0
    package private(set) var sounds = 0
    /// What stands in the body itself and not behind an address.
    package private(set) var inline: [InlineMedium] = []

    package var count: Int { images + videos + sounds }
    /// The bytes of the prompt that are media and not text.
    package var inlineByteCount: Int { inline.reduce(0) { $0 + $1.encodedByteCount } }

    private static let types: [(name: StaticString, kind: InlineMedium.Kind)] = [
        ("image_url", .image), ("image", .image), ("input_image", .image), ("video_url", .video), ("video", .video),
        ("input_video", .video), ("audio_url", .sound), ("audio", .sound), ("input_audio", .sound),
    ]

    package init() {}

    /// - Parameter body: the body that `request` was read from.
    package init(in request: InferenceRequest, _ body: borrowing ByteBuffer) {
        for range in request.promptRanges { add(body.bytes.extracting(range)) }
    }

    private mutating func add(_ bytes: RawSpan) {
        let before = count
        addTypes(bytes)
        // Text without such parts has no media either.
        if count > before { inline += InlineMedium.all(in: bytes) }
    }

    private mutating func addTypes(_ bytes: RawSpan) {
        let name: StaticString = "\"type\""
        var offset = 0
        while let found = ByteScan.offset(of: name, in: bytes, from: offset) {
            offset = found + name.utf8CodeUnitCount
            // An escaped quote is not where a member's name begins.
            if found > 0, bytes[found - 1] == UInt8(ascii: "\\") { continue }
            guard let value = MemberScan.stringValue(in: bytes, after: offset),
                let type = Self.types.first(where: { MemberScan.isEqual(bytes, value, $0.name) })
            else { continue }
            switch type.kind {
            case .image: images += 1
            case .video: videos += 1
            case .sound: sounds += 1
            }
        }
    }
}

/// Follows the JSON around a place in a prompt, which was checked to be valid.
enum MemberScan {
    /// The inside of the string that follows a member's name, when it has no escapes.
    static func stringValue(in bytes: RawSpan, after start: Int) -> Range<Int>? {
        guard let quote = valueQuote(in: bytes, after: start) else { return nil }
        let end = ByteScan.nextQuoteOrBackslash(bytes, from: quote + 1)
        return end < bytes.byteCount && bytes[end] == UInt8(ascii: "\"") ? quote + 1..<end : nil
    }

    /// Where the string that follows a member's name begins.
    static func valueQuote(in bytes: RawSpan, after start: Int) -> Int? {
        guard let colon = firstOther(in: bytes, from: start), bytes[colon] == UInt8(ascii: ":"),
            let quote = firstOther(in: bytes, from: colon + 1), bytes[quote] == UInt8(ascii: "\"")
        else { return nil }
        return quote
    }

    /// The end of the string whose inside begins at `start`: where its closing quote stands.
    static func stringEnd(in bytes: RawSpan, from start: Int) -> Int {
        var offset = start
        while true {
            offset = ByteScan.nextQuoteOrBackslash(bytes, from: offset)
            guard offset < bytes.byteCount, bytes[offset] == UInt8(ascii: "\\") else {
                return min(offset, bytes.byteCount)
            }
            offset += 2
        }
    }

    static func isEqual(_ bytes: RawSpan, _ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { expected in
            expected.indices.allSatisfy { bytes[range.lowerBound + $0] == expected[$0] }
        }
    }

    /// The first byte that is no white space.
    private static func firstOther(in bytes: RawSpan, from start: Int) -> Int? {
        var offset = start
        while offset < bytes.byteCount, ASCII.isWhitespace(bytes[offset]) { offset += 1 }
        return offset < bytes.byteCount ? offset : nil
    }
}
