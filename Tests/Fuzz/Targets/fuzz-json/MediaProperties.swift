import Bytes
import FuzzSupport
import Inference

/// Images and the like: what is found lies within the prompt, and however large it says it is, its tokens are a number.
func checkMedia(_ document: [UInt8]) {
    let body = ByteBuffer(copying: document)
    let count = document.withRawSpan { TokenIDs.count(in: $0) } ?? 0
    check(count >= 0 && count <= document.count, "\(count) token ids")
    for api in [InferenceAPI.chatCompletions, .messages, .responses] {
        guard let request = try? InferenceRequest.read(body, api: api) else { continue }
        let parts = MultimodalParts(in: request, body)
        check(parts.inline.allSatisfy { $0.encodedByteCount >= 0 }, "\(parts)")
        check(parts.count >= 0 && parts.count <= document.count, "\(parts)")
        var estimate = MediaEstimate()
        estimate.image.pixelsPerToken = 1
        let hints = VideoHints { _ in "1048576x1048576" }
        check(estimate.tokens(of: request, parts, hints) >= 0, "\(parts)")
        check(estimate.tokens(of: request, parts, VideoHints { _ in "9999" }) >= 0, "\(parts)")
    }
}

/// The end of a stream, whatever its pieces: never more than all of it tells, and read within bounds.
func checkTail(_ document: [UInt8], _ generator: inout SeededGenerator) {
    var tail = EventTail()
    for piece in pieces(document, &generator) { piece.withRawSpan { tail.keep($0) } }
    _ = tail.finish()
}
