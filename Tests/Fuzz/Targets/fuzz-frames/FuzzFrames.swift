import Bytes
import ExtProc
import FuzzSupport

/// A whole stream: frames, each behind its length in two bytes (little end first); the last may be cut.
///
/// Whatever the frames are, decoding them, reading all they carry and answering them as the conversation says stays within bounds.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzFrames(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    var rest = UnsafeBufferPointer(start: data, count: size)[...]
    var conversation = Conversation()
    while rest.count >= 2 {
        let length = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8
        // A copy of its own, so that the sanitizer sees a read beyond the frame.
        let bytes = Array(rest.dropFirst(2).prefix(length))
        rest = rest.dropFirst(2 + bytes.count)
        guard receive(bytes, &conversation) else { break }
    }
    return 0
}

/// Whether the stream goes on.
private func receive(_ bytes: [UInt8], _ conversation: inout Conversation) -> Bool {
    bytes.withRawSpan { span in
        guard let frame = try? Frame(decoding: span) else { return false }
        readAll(frame, bytes.count)
        let event: Conversation.Event
        do {
            event = try conversation.receive(
                frame.kind,
                endOfStream: frame.endOfStream,
                modes: frame.bodyModes,
                isObservation: frame.isObservation
            )
        } catch {
            return false
        }
        frame.withBody { body in
            for planned in replies(event, body) { pack(planned, body) }
        }
        return true
    }
}

private func readAll(_ frame: borrowing Frame, _ byteCount: Int) {
    let count = frame.withBody { $0.byteCount }
    check(count == frame.bodyByteCount && count <= byteCount, "\(count) bytes of body")
    let headers = frame.headers()
    let pairs = headers.pairs
    check(pairs.count == headers.count && headers.names == pairs.map(\.name), "\(pairs)")
    // A name that is no UTF-8 is shown repaired, and found by no text.
    for (name, _) in pairs where !name.unicodeScalars.contains("\u{FFFD}") {
        check(headers.value(named: name) != nil, name)
    }
    check((headers[":path"] != nil) == headers.contains(":path"), ":path")
    _ = headers.value(of: "content-type", contains: "text/event-stream")
    _ = frame.metadataStrings(namespace: "envoy.lb", key: "x-gateway-destination-endpoint")
    _ = frame.metadataStrings(namespace: "envoy.lb.subset_hint", key: "x-gateway-destination-endpoint-subset")
}

/// What is sent for an event, with every member of a reply in use.
private func replies(_ event: Conversation.Event, _ body: RawSpan) -> [PlannedReply] {
    switch event {
    case .ignored, .requestStarted, .requestContinued:
        return []
    case .requestHeld:
        return [PlannedReply(Conversation.continueRequestHeaders)]
    case .requestReady(let form):
        var headers = HeaderMutation()
        headers.set("x-gateway-destination-endpoint", "10.0.0.1:8000")
        headers.remove("x-prefiller-host-port")
        var metadata = DynamicMetadata(namespace: "envoy.lb")
        metadata.set("x-gateway-destination-endpoint", "10.0.0.1:8000")
        let plan = form.replies(headers: headers, metadata: metadata, bodyByteCount: body.byteCount, isBodyEdited: true)
        checkCovers(plan, body.byteCount)
        return plan
    case .acknowledged(let kind):
        return [PlannedReply(Reply(kind))]
    case .responseStarted:
        return [PlannedReply(Reply(.responseHeaders))]
    case .responseBody(let form), .responseTrailers(let form):
        let plan = form.replies(byteCount: body.byteCount, isEdited: true)
        checkCovers(plan, body.byteCount)
        return plan
    }
}

/// The parts of a body follow each other and leave nothing out.
private func checkCovers(_ plan: [PlannedReply], _ byteCount: Int) {
    var end = 0
    for planned in plan where !planned.body.isEmpty {
        check(planned.body.lowerBound == end, "\(planned.body) behind \(end)")
        end = planned.body.upperBound
    }
    check(end == 0 || end == byteCount, "\(end) of \(byteCount) bytes")
}

private func pack(_ planned: PlannedReply, _ body: RawSpan) {
    let bytes = body.extracting(planned.body)
    let count = planned.reply.packedByteCount(body: bytes)
    check(count >= bytes.byteCount || planned.reply.body == .unchanged, "\(count) bytes for \(bytes.byteCount)")
    let out = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
    planned.reply.pack(body: bytes, into: out)
    out.deallocate()
}
