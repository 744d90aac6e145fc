internal import Bytes
internal import Configuration
internal import ExtProc
internal import Inference
internal import Orchestration
internal import Pool
internal import Telemetry

// The response's way: headers, body, trailers; its usage read as it goes by.
extension Exchange {
    func answerResponseHeaders(_ frame: borrowing Frame, isLast: Bool) async throws {
        let arrivedAt = MonotonicTime.now()
        callBackPlace = nil
        let response = frame.headers()
        record.responseHeadersAt = arrivedAt.nanoseconds
        record.status = (response[":status"] ?? response["status"]).flatMap { Int($0) } ?? 0
        if record.status != 0, !(200..<300).contains(record.status) { record.errorCode = "ModelServerError" }
        follow(frame)
        notice(response)
        if let active = orchestrated {
            if isFailedDecode(active) { return try await rescue(active, from: .status) }
            if mayHold(active, isLast: isLast) {
                var reply = Reply(.responseHeaders)
                describe(&reply, frame)
                active.heldHead = OrchestratedExchange.HeldHead(fields: response, reply: reply)
                return worked(since: arrivedAt)
            }
            noteDecodeBegan(active)
        }
        beginReading(response)

        var reply = Reply(.responseHeaders)
        describe(&reply, frame)
        endStages()
        if !isLast, let modes = modesWithoutBodies {
            reply.bodyModes = modes
            hasStoppedBodies = true
        }
        worked(since: arrivedAt)
        if isLast { finish() }
        try await send(reply)
    }

    /// Moves what is held for the request to the endpoint that serves it, when the gateway names another than the one picked.
    private func follow(_ frame: borrowing Frame) {
        defer { prompt = nil }
        let served = frame.metadataStrings(namespace: "envoy.lb", key: "x-gateway-destination-endpoint-served")?.first
        guard let served, served != answer.destinations.first?.hostPort, let current = reservation.take() else {
            return
        }
        if orchestrated?.order?.prefill != nil { director.telemetry.orchestration(.spentTwice) }
        let endpoint = answer.destinations.first { $0.hostPort == served }?.endpoint ?? served
        reservation =
            current.endpoint.hostPort == endpoint
            ? current : director.move(current, to: endpoint, prompt: prompt, record: record)
    }

    private func describe(_ reply: inout Reply, _ frame: borrowing Frame) {
        reply.headers.set(ControlHeaders.seen, "true")
        addHeaders(to: &reply, frame)
        if let attempts = record.attempts { reply.headers.set(ControlHeaders.attempts, String(attempts)) }
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

    /// The response has begun: what others computed for it is done, if it is a good one.
    func endStages() {
        if (200..<300).contains(record.status) { stages?.prefill?.releaseTokens() }
        stages = nil
    }

    /// Takes a gateway's own 503 as word that it could not connect to the endpoint.
    private func notice(_ response: HeaderList) {
        // A response of the model server carries the time that it took; one that Envoy made itself does not.
        guard record.status == 503, let endpoint = reservation?.endpoint,
            !response.contains("x-envoy-upstream-service-time")
        else { return }
        director.pool.suspect(endpoint, at: .now())
    }

    // MARK: Reading

    func beginReading(_ response: HeaderList) {
        isEventStream = response.value(of: "content-type", contains: "text/event-stream")
        record.isStreaming = isEventStream || record.isStreaming
        // What was asked for as a stream goes on piece by piece, also when it is no stream of events.
        isPassing = record.isStreaming
        if isEventStream {
            if settings.responseProcessing == .full {
                usage = UsageReader(format: .eventStream)
            } else {
                tail = EventTail()
            }
        } else {
            let isGRPC =
                settings.parsers.readsGRPCUsage && response.value(of: "content-type", contains: "application/grpc")
            usage = UsageReader(format: isGRPC ? .grpc : .json)
        }
        if let cachedTokens {
            editors.append(
                CachedTokensRewriter(cachedTokens: cachedTokens, format: isEventStream ? .eventStream : .json)
            )
        }
    }

    /// How Envoy is asked to go on without the response's body; nil when it shall not be asked, or would not heed it.
    private var modesWithoutBodies: BodyModes? {
        let modes = conversation.modes
        guard settings.responseProcessing == .headers, editors.isEmpty, !modes.request.isDuplex,
            !modes.response.isDuplex,
            modes.response != .none
        else { return nil }
        return BodyModes(request: modes.request, response: .none)
    }

    private func read(_ frame: borrowing Frame, at now: MonotonicTime) {
        guard frame.bodyByteCount > 0 else { return }
        // A filter that does not allow the override goes on sending bodies.
        hasStoppedBodies = false
        frame.withBody { read($0, at: now) }
    }

    /// Takes from a piece of the response's body what is told of it.
    func read(_ piece: RawSpan, at now: MonotonicTime) {
        guard piece.byteCount > 0 else { return }
        if record.firstByteAt == 0, answer.tokensEndWithFirstByte { reservation?.releaseTokens() }
        director.telemetry.responsePiece(
            record,
            byteCount: piece.byteCount,
            isEvent: record.isStreaming,
            at: now.nanoseconds
        )
        usage?.consume(piece)
        tail?.keep(piece)
    }

    /// The piece as the client shall get it; nil when that is as it came.
    func edited(_ piece: RawSpan, isLast: Bool) -> ByteBuffer? {
        editors.process(piece, isLast: isLast)
    }

    // MARK: Answering

    func answerResponseBody(_ frame: borrowing Frame, _ form: Conversation.ResponseForm) async throws {
        let arrivedAt = MonotonicTime.now()
        if let active = orchestrated, failsLate(active, frame) {
            return try await rescue(active, from: .badAnswer)
        }
        try await releaseHead()
        read(frame, at: arrivedAt)
        switch form {
        case .chunks(let isLast):
            if isHolding {
                try await hold(frame, isLast: isLast, since: arrivedAt)
            } else {
                try await pass(frame, form, isLast: isLast, since: arrivedAt)
            }
        case .frame(let isLast):
            try await pass(frame, form, isLast: isLast, since: arrivedAt)
        }
    }

    func answerResponseTrailers(_ form: Conversation.ResponseForm) async throws {
        try await releaseHead()
        if case .chunks = form { try await sendHeld(endsBody: true, endsStream: false, since: .now()) }
        finish()
        try await send(Reply(.responseTrailers))
    }

    /// Whether the response is sent on as a whole, which is how the reference answers what is no stream of events.
    private var isHolding: Bool { !isEventStream && !isPassing }

    /// Keeps a piece, and sends everything when it was the last.
    private func hold(_ frame: borrowing Frame, isLast: Bool, since arrivedAt: MonotonicTime) async throws {
        frame.withBody { held.append($0) }
        if isLast {
            try await sendHeld(endsBody: true, endsStream: true, since: arrivedAt)
        } else if held.count > limits.heldResponseBytes {
            isPassing = true
            try await sendHeld(endsBody: false, endsStream: false, since: arrivedAt)
        } else {
            worked(since: arrivedAt)
        }
    }

    /// Sends what was kept, and what the restoring of the model's name kept back.
    private func sendHeld(endsBody: Bool, endsStream: Bool, since arrivedAt: MonotonicTime) async throws {
        var outgoing = held.take()
        if let restored = edited(outgoing.bytes, isLast: endsBody) { outgoing = restored }
        let form = Conversation.ResponseForm.chunks(isLast: endsStream)
        worked(since: arrivedAt)
        if endsStream { finish() }
        let sent = outgoing.take()
        try await send(form.replies(byteCount: sent.count, isEdited: true)) { $0(sent.bytes) }
    }

    /// Sends a piece on at once.
    private func pass(
        _ frame: borrowing Frame,
        _ form: Conversation.ResponseForm,
        isLast: Bool,
        since arrivedAt: MonotonicTime
    ) async throws {
        let isWhole = conversation.modes.response == .buffered
        let restored = frame.withBody { edited($0, isLast: isLast || isWhole) }
        worked(since: arrivedAt)
        if isLast { finish() }
        if let restored {
            var plan = form.replies(byteCount: restored.count, isEdited: true)
            // Envoy refuses a buffered body of another length than the header says.
            if isWhole { plan[0].reply.headers.set("content-length", String(restored.count)) }
            return try await send(plan) { $0(restored.bytes) }
        }
        try await send(form.replies(byteCount: frame.bodyByteCount, isEdited: false)) { frame.withBody($0) }
    }

    /// Counts the time from a frame's arrival until its answer was ready.
    func worked(since arrivedAt: MonotonicTime) {
        record.responseProcessingTime += MonotonicTime.now().nanoseconds - arrivedAt.nanoseconds
    }

    /// The response has ended: its load is gone from the endpoint before its last byte is on its way.
    func finish() {
        endReading()
        reservation = nil
        callBackPlace = nil
        if let active = orchestrated {
            reportDecode(record.status < 400 ? "ok" : "http_\(record.status)")
            concludeLegs(isDecoded: record.status < 400)
            active.letGo()
        }
        director.telemetry.finish(record, .complete)
    }

    /// Takes from the whole response what its end tells.
    func endReading() {
        usage?.finish()
        if let usage = tail?.finish() ?? usage?.usage {
            record.usage = .init(
                promptTokens: usage.promptTokens,
                cachedTokens: usage.cachedTokens,
                completionTokens: usage.completionTokens
            )
            // The decode endpoint did not compute the prompt, so what it says of it is not asked for.
            if let cachedTokens { record.usage.cachedTokens = cachedTokens }
        }
    }
}
