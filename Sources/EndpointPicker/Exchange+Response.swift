internal import Bytes
internal import ExtProc
internal import Inference
internal import Pool
internal import Telemetry

// The response's way: headers, body, trailers; its usage read as it goes by.
extension Exchange {
    func answerResponseHeaders(_ frame: borrowing Frame, isLast: Bool) async throws {
        callBackPlace = nil
        let response = frame.headers()
        record.responseHeadersAt = MonotonicTime.now().nanoseconds
        record.status = (response[":status"] ?? response["status"]).flatMap { Int($0) } ?? 0
        if record.status != 0, !(200..<300).contains(record.status) { record.errorCode = "ModelServerError" }
        isEventStream = response.value(of: "content-type", contains: "text/event-stream")
        record.isStreaming = isEventStream || record.isStreaming
        usage = UsageReader(format: usageFormat(of: response))
        // What was asked for as a stream goes on piece by piece, also when it is no stream of events.
        isPassing = record.isStreaming
        notice(response)

        var reply = Reply(.responseHeaders)
        reply.headers.set(ControlHeaders.seen, "true")
        addHeaders(to: &reply, frame)
        stages = nil
        if isLast { finish() }
        try await send(reply)
    }

    private func addHeaders(to reply: inout Reply, _ frame: borrowing Frame) {
        for header in answer.headers { reply.headers.set(header.name, header.value) }
        guard answer.reportsServedEndpoint else { return }
        let served = frame.metadataStrings(namespace: "envoy.lb", key: "x-gateway-destination-endpoint-served")?.first
        reply.headers.set(
            ControlHeaders.servedEndpoint,
            served ?? "fail: missing destination endpoint served metadata"
        )
    }

    private func usageFormat(of response: HeaderList) -> UsageReader.Format {
        if isEventStream { return .eventStream }
        let isGRPC =
            director.settings.parsers.readsGRPCUsage && response.value(of: "content-type", contains: "application/grpc")
        return isGRPC ? .grpc : .json
    }

    /// Takes a gateway's own 503 as word that it could not connect to the endpoint.
    private func notice(_ response: HeaderList) {
        // A response of the model server carries the time that it took; one that Envoy made itself does not.
        guard record.status == 503, let endpoint = reservation?.endpoint,
            !response.contains("x-envoy-upstream-service-time")
        else { return }
        director.pool.suspect(endpoint, at: .now())
    }

    func answerResponseBody(_ frame: borrowing Frame, _ form: Conversation.ResponseForm) async throws {
        if frame.bodyByteCount > 0 {
            if record.firstByteAt == 0 {
                record.firstByteAt = MonotonicTime.now().nanoseconds
                if answer.tokensEndWithFirstByte { reservation?.releaseTokens() }
            }
            record.responseBytes += frame.bodyByteCount
            frame.withBody { usage?.consume($0) }
        }
        switch form {
        case .chunks(let isLast):
            if isHolding { return try await hold(frame, isLast: isLast) }
            try await pass(frame, form, isLast: isLast)
        case .frame(let isLast):
            try await pass(frame, form, isLast: isLast)
        }
    }

    func answerResponseTrailers(_ form: Conversation.ResponseForm) async throws {
        if case .chunks = form { try await sendHeld(endsBody: true, endsStream: false) }
        finish()
        try await send(Reply(.responseTrailers))
    }

    /// Whether the response is sent on as a whole, which is how the reference answers what is no stream of events.
    private var isHolding: Bool { !isEventStream && !isPassing }

    /// Keeps a piece, and sends everything when it was the last.
    private func hold(_ frame: borrowing Frame, isLast: Bool) async throws {
        frame.withBody { held.append($0) }
        if isLast {
            try await sendHeld(endsBody: true, endsStream: true)
        } else if held.count > limits.heldResponseBytes {
            isPassing = true
            try await sendHeld(endsBody: false, endsStream: false)
        }
    }

    /// Sends what was kept, and what the restoring of the model's name kept back.
    private func sendHeld(endsBody: Bool, endsStream: Bool) async throws {
        var outgoing = held.take()
        if let restored = restorer?.process(outgoing.bytes, isLast: endsBody) { outgoing = restored }
        let form = Conversation.ResponseForm.chunks(isLast: endsStream)
        if endsStream { finish() }
        let sent = outgoing.take()
        try await send(form.replies(byteCount: sent.count, isEdited: true)) { $0(sent.bytes) }
    }

    /// Sends a piece on at once.
    private func pass(
        _ frame: borrowing Frame,
        _ form: Conversation.ResponseForm,
        isLast: Bool
    ) async throws {
        if isLast { finish() }
        let isWhole = conversation.modes.response == .buffered
        if let restored = frame.withBody({ restorer?.process($0, isLast: isLast || isWhole) }) {
            var plan = form.replies(byteCount: restored.count, isEdited: true)
            // Envoy refuses a buffered body of another length than the header says.
            if isWhole { plan[0].reply.headers.set("content-length", String(restored.count)) }
            return try await send(plan) { $0(restored.bytes) }
        }
        try await send(form.replies(byteCount: frame.bodyByteCount, isEdited: false)) { frame.withBody($0) }
    }

    /// The response has ended: its load is gone from the endpoint before its last byte is on its way.
    private func finish() {
        usage?.finish()
        if let usage = usage?.usage {
            record.usage = .init(
                promptTokens: usage.promptTokens,
                cachedTokens: usage.cachedTokens,
                completionTokens: usage.completionTokens
            )
        }
        reservation = nil
        callBackPlace = nil
        director.telemetry.finish(record, .complete)
    }
}
