package import Bytes

/// Counts the images, videos and sounds in a prompt.
///
/// A part is recognised by its `"type"` member, wherever in the prompt it stands: those of the chat API (`image_url`, `video_url`, `audio_url`,
/// `input_audio`), of responses (`input_image`, `input_video`) and of messages (`image`), and the bare `video` and `audio`. Text that merely
/// quotes JSON does not count, since its quotes are escaped. Limits: a member name or type written with `\u` escapes is not seen; an object of
/// another kind in the prompt with such a type (a tool's result, say) is counted; images inside documents are not.
package enum MultimodalParts {
    private static let types: [StaticString] = [
        "image_url", "image", "input_image", "video_url", "video", "input_video", "audio_url", "audio", "input_audio",
    ]

    /// - Parameter body: the body that `request` was read from.
    package static func count(of request: InferenceRequest, in body: borrowing ByteBuffer) -> Int {
        request.promptRanges.reduce(0) { $0 + count(in: body.bytes.extracting($1)) }
    }

    static func count(in bytes: RawSpan) -> Int {
        let name: StaticString = "\"type\""
        var count = 0
        var offset = 0
        while let found = ByteScan.offset(of: name, in: bytes, from: offset) {
            offset = found + name.utf8CodeUnitCount
            // An escaped quote is not where a member's name begins.
            if found > 0, bytes[found - 1] == UInt8(ascii: "\\") { continue }
            if let value = stringValue(in: bytes, after: offset), types.contains(where: { isEqual(bytes, value, $0) }) {
                count += 1
            }
        }
        return count
    }

    /// The inside of the string that follows a member's name.
    private static func stringValue(in bytes: RawSpan, after start: Int) -> Range<Int>? {
        guard let colon = firstOther(in: bytes, from: start), bytes[colon] == UInt8(ascii: ":"),
            let quote = firstOther(in: bytes, from: colon + 1), bytes[quote] == UInt8(ascii: "\"")
        else { return nil }
        let end = ByteScan.nextQuoteOrBackslash(bytes, from: quote + 1)
        return end < bytes.byteCount && bytes[end] == UInt8(ascii: "\"") ? quote + 1..<end : nil
    }

    /// The first byte that is no white space.
    private static func firstOther(in bytes: RawSpan, from start: Int) -> Int? {
        var offset = start
        while offset < bytes.byteCount, ASCII.isWhitespace(bytes[offset]) { offset += 1 }
        return offset < bytes.byteCount ? offset : nil
    }

    private static func isEqual(_ bytes: RawSpan, _ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { expected in
            expected.indices.allSatisfy { bytes[range.lowerBound + $0] == expected[$0] }
        }
    }
}
