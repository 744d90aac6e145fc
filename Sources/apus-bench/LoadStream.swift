import CGRPC

/// One stream of the load: what Envoy does for one HTTP request, as a state machine over completions.
final class LoadStream {
    private enum Operation: Int { case send, receive, halfClose, status }

    private unowned let client: LoadClient
    private var slots: UnsafeMutablePointer<apus_client_slots>?
    private var frames: FrameSlices?
    /// Frames that wait for the one before to be written.
    private var outbox: ArraySlice<grpc_slice> = []
    private var isSending = false
    private var mustHalfClose = false
    private var pending = 0
    private var startTime = 0.0
    private var pickTime: Double?
    private var repliesLeft: Set<UInt8> = []
    private var isResponding = false
    /// Pieces of a streamed response that are not sent yet. Each follows the reply to the one before: tokens come apart.
    private var pieces: ArraySlice<grpc_slice> = []
    private var pieceTime = 0.0
    private var failure: String?
    /// Whether the first piece of its response has been answered, and nothing more will be sent.
    private(set) var isHeld = false
    /// Whether all of its request is on its way and nothing has been answered.
    var isWaiting: Bool { slots != nil && outbox.isEmpty && !isSending && !isResponding }

    init(client: LoadClient) {
        self.client = client
    }

    func start(_ call: OpaquePointer?, _ frames: FrameSlices) {
        slots = apus_client_slots_create(call)
        self.frames = frames
        outbox = frames.isBuffered ? [] : frames.request[1...]
        isSending = true
        mustHalfClose = false
        pickTime = nil
        failure = nil
        isResponding = false
        pieces = []
        repliesLeft = [Frames.ReplyField.requestHeaders, Frames.ReplyField.requestBody]
        startTime = monotonicSeconds()
        pending = 3
        slots?.pointee.sent = apus_message_create(grpc_slice_ref(frames.request[0]))
        _ = apus_client_receive_status(slots, tag(.status))
        _ = apus_client_start_with_message(slots, tag(.send))
        _ = apus_client_receive_first_message(slots, tag(.receive))
    }

    private func tag(_ operation: Operation) -> UnsafeMutableRawPointer {
        Unmanaged.passUnretained(self).toOpaque() + operation.rawValue
    }

    func complete(_ operation: Int, success: Bool) {
        pending -= 1
        switch Operation(rawValue: operation) {
        case .send:
            isSending = false
            if let buffer = slots?.pointee.sent { grpc_byte_buffer_destroy(buffer) }
            slots?.pointee.sent = nil
            if success { sendNext() } else { outbox = [] }
        case .receive: received(success)
        case .halfClose, .status, nil: break
        }
        if pending == 0 { finish() }
    }

    private func sendNext() {
        guard !isSending else { return }
        if let frame = outbox.popFirst() {
            isSending = true
            pending += 1
            slots?.pointee.sent = apus_message_create(grpc_slice_ref(frame))
            _ = apus_client_send_message(slots, false, tag(.send))
        } else if mustHalfClose {
            mustHalfClose = false
            pending += 1
            _ = apus_client_half_close(slots, tag(.halfClose))
        }
    }

    private func received(_ success: Bool) {
        guard success, let buffer = slots?.pointee.received else { return }
        slots?.pointee.received = nil
        var slice = apus_message_slice(buffer)
        note(UnsafeRawBufferPointer(start: apus_slice_start(&slice), count: apus_slice_length(&slice)))
        grpc_slice_unref(slice)
        pending += 1
        _ = apus_client_receive_message(slots, tag(.receive))
    }

    /// Which reply it is, and what Envoy would do next.
    private func note(_ bytes: UnsafeRawBufferPointer) {
        let field = UInt8(truncatingIfNeeded: ProtobufPeek.firstField(below: Frames.ReplyField.limit, in: bytes) ?? 0)
        switch field {
        case Frames.ReplyField.responseBody where isStreaming:
            client.answered(chunkAfter: monotonicSeconds() - pieceTime)
            if client.holdsResponses { return isHeld = true }
            if let piece = pieces.popFirst() { return sendPiece(piece) }
        case Frames.ReplyField.requestBody, Frames.ReplyField.responseBody:
            guard isBuffered || ProtobufPeek.integer(at: Frames.ReplyField.endOfStream(field), in: bytes) == 1 else {
                return
            }
        case Frames.ReplyField.requestHeaders where isBuffered: outbox = frames?.request[1...] ?? []
        case Frames.ReplyField.requestHeaders: break
        case Frames.ReplyField.responseHeaders:
            if isBuffered, !ProtobufPeek.contains(Frames.ReplyField.modeOverride, in: bytes) {
                failure = "the response's body was not refused"
            }
        default:
            failure = field == Frames.ReplyField.immediate ? "immediate response" : "unexpected reply \(field)"
            outbox = []
            mustHalfClose = true
            return sendNext()
        }
        if repliesLeft.remove(field) == nil { failure = "reply \(field) out of turn" }
        if repliesLeft.isEmpty { takeTurn() }
        sendNext()
    }

    private var isBuffered: Bool { frames?.isBuffered == true }
    /// Whether replies to pieces of a response are expected one by one.
    private var isStreaming: Bool { isResponding && (frames?.response.count ?? 0) > 2 && frames?.isPaced == true }

    /// All replies to the request, or to the response, have come.
    private func takeTurn() {
        if isResponding {
            mustHalfClose = true
            return
        }
        pickTime = monotonicSeconds()
        if client.endsAfterPick {
            mustHalfClose = true
            return
        }
        isResponding = true
        let response = frames?.response ?? []
        repliesLeft = [Frames.ReplyField.responseHeaders]
        if response.count > 1 { repliesLeft.insert(Frames.ReplyField.responseBody) }
        let first = frames?.isPaced == false ? response.count : 2
        outbox = response.prefix(first)
        pieces = response.dropFirst(first)
        pieceTime = pickTime ?? 0
    }

    private func sendPiece(_ piece: grpc_slice) {
        pieceTime = monotonicSeconds()
        outbox = [piece]
        sendNext()
    }

    /// Hangs up.
    func cancel() {
        guard let call = slots?.pointee.call else { return }
        grpc_call_cancel(call, nil)
    }

    private func finish() {
        guard let slots else { return }
        let code = slots.pointee.status.rawValue
        if code != 0 { failure = "status \(code)" }
        if failure == nil, !repliesLeft.isEmpty { failure = "replies missing" }
        grpc_call_unref(slots.pointee.call)
        apus_client_slots_destroy(slots)
        self.slots = nil
        client.finished(
            self,
            latency: monotonicSeconds() - startTime,
            pickLatency: pickTime.map { $0 - startTime },
            failure: failure
        )
    }
}
