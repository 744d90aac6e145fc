internal import Admission
internal import Bytes
internal import ExtProc
internal import Inference
internal import Pool
internal import RPC
internal import Telemetry

// The request's way: headers, body, decision, replies.
extension Exchange {
    func readHeaders(of frame: borrowing Frame) {
        headers = frame.headers()
        readSubset(of: frame)
        record.method = headers[":method"] ?? ""
        record.path = headers[":path"] ?? ""
        record.requestID = headers["x-request-id"] ?? ""
        record.fairnessID = headers.fairnessID
        record.trace = director.telemetry.tracer?.begin(joining: headers["traceparent"], using: &generator)
    }

    /// Keeps a body frame's bytes, up to the limit.
    func keep(_ frame: borrowing Frame) throws(PickerError) {
        readSubset(of: frame)
        guard frame.bodyByteCount > 0 else { return }
        guard body.count + frame.bodyByteCount <= limits.requestBodyBytes else {
            throw .bodyTooLarge(limit: limits.requestBodyBytes)
        }
        if body.isEmpty, !frame.endOfStream, let length = headers["content-length"].flatMap({ Int($0) }) {
            // A client's claim is believed only as far as it costs little when it lies.
            body.reserve(min(length, limits.requestBodyBytes, 1 << 20))
        }
        frame.withBody { body.append($0) }
    }

    private func readSubset(of frame: borrowing Frame) {
        guard settings.honorsSubset, subset == nil else { return }
        subset = frame.metadataStrings(
            namespace: "envoy.lb.subset_hint",
            key: "x-gateway-destination-endpoint-subset"
        ).map { SubsetHint($0) }
    }

    /// Decides where the request goes and tells Envoy in the given form.
    func decide(_ form: Conversation.DecisionForm) async throws {
        switch try await choose(form) {
        case .tell(let forwarding, let isEdited):
            let plan = tell(form, forwarding, bodyByteCount: body.count, isEdited: isEdited)
            let outgoing = body.take()
            try await send(plan) { $0(outgoing.bytes) }
        case .orchestrate(let legs, let use, let inference, let edits, let forwarding):
            try await orchestrate(legs, as: use, form, inference, edits, forwarding)
        }
    }

    /// What follows a decision.
    private enum NextStep {
        case tell(Forwarding, isEdited: Bool)
        case orchestrate(LegPlan, as: LegPlan.Use, InferenceRequest?, BodyEdits, Forwarding)
    }

    // Kept apart, so that what deciding needs on the task's stack (8 KB) is gone while thousands of requests wait for their legs.
    @inline(never)
    private func choose(_ form: Conversation.DecisionForm) async throws -> NextStep {
        record.bodyCompleteAt = MonotonicTime.now().nanoseconds
        record.requestBytes = body.count
        let request = try readRequest(form)
        if record.requestID.isEmpty {
            record.requestID = RequestID.make(&generator)
            hasOwnRequestID = true
        }
        var inquiry = Inquiry(headers: headers, request: request, subset: subset, bodyByteCount: body.count)
        director.describe(inquiry, in: record, using: &generator)
        try director.checkMembers(of: inquiry, in: body)
        let rendering = director.rendering(for: &inquiry, settings, model: record.targetModel, body: body)
        await director.countTokens(of: &inquiry, settings, in: record, rendering)
        let grant = try await director.admit(inquiry, record: record) { [call] in await call.peerHasFinished() }
        var decision = try director.decide(inquiry, body: body, record: record, generator: &generator)
        // From here on the reservation counts.
        grant?.release()

        var edits = BodyEdits()
        if let request, record.targetModel != request.model {
            edits.replaceValue(in: request.modelRange, with: JSONValue.quoted(record.targetModel))
            editors.append(ModelNameRestorer(from: record.targetModel, to: request.model))
        }
        prompt = decision.prompt
        stages = decision.stages
        answer = ResponsePolicies(
            headers: decision.responseHeaders,
            reportsServedEndpoint: decision.reportsServedEndpoint,
            tokensEndWithFirstByte: decision.tokensEndWithFirstByte,
            destinations: decision.destinations
        )
        let forwarding = decision.forwarding
        let legs = decision.legs.take()
        reservation = decision.takeReservation()
        director.telemetry.decided(record)
        if let legs, let use = LegPlan.Use(legs, form, conversation.modes, request?.inference, headers) {
            return .orchestrate(legs, as: use, request?.inference, edits, forwarding)
        }
        if legs?.mustSplit == true, isBodyHidden(form) { throw PickerError.hiddenBody }
        let isEdited = !edits.isEmpty
        if isEdited { body = edits.applied(to: body) }
        return .tell(forwarding, isEdited: isEdited)
    }

    /// The replies that tell Envoy where the request goes, with a body of so many bytes for the endpoint.
    func tell(
        _ form: Conversation.DecisionForm,
        _ forwarding: Forwarding,
        bodyByteCount: Int,
        isEdited: Bool
    ) -> [PlannedReply] {
        var mutation = HeaderMutation()
        mutation.set(ControlHeaders.destination, forwarding.destination)
        for header in forwarding.headers { mutation.set(header.name, header.value) }
        if hasOwnRequestID { mutation.set(ControlHeaders.requestID, record.requestID) }
        if let parent = forwarding.traceParent ?? record.trace?.header {
            mutation.set(ControlHeaders.traceParent, parent)
        }
        if isEdited, bodyByteCount != record.requestBytes, form != .bufferedBody(isPartial: true) {
            // Envoy refuses a buffered body of another length than the header says; in the other modes it drops the header.
            mutation.set("content-length", String(bodyByteCount))
        }
        for name in ControlHeaders.forbidden(
            in: headers,
            allowed: forwarding.clientHeaders + forwarding.headers.map(\.name)
        ) { mutation.remove(name) }
        // Only sub-requests carry it, and this is none.
        if orchestrated != nil, headers.contains("x-processor-attempt") { mutation.remove("x-processor-attempt") }

        var metadata = DynamicMetadata(namespace: ControlHeaders.metadataNamespace)
        metadata.set(ControlHeaders.destination, forwarding.destination)
        if let scores = forwarding.scores { metadata.set(ControlHeaders.scores, scores) }

        callBackPlace = director.admission?.controller.mayCallBack(priority: record.priority) { [call, alarms] in
            alarms.raise(.calledBack, call)
        }
        // The model server's answer may take minutes; what the request held is needed no more.
        headers = HeaderList()
        return form.replies(
            headers: mutation,
            metadata: metadata,
            bodyByteCount: bodyByteCount,
            isBodyEdited: isEdited
        )
    }

    /// Whether the request has a body of which Apus sees a part or nothing.
    private func isBodyHidden(_ form: Conversation.DecisionForm) -> Bool {
        switch form {
        case .bufferedBody(let isPartial): isPartial
        case .headers: headers["content-length"] ?? "0" != "0" || headers.contains("transfer-encoding")
        case .headersAndBody, .trailers: false
        }
    }

    /// What the request asks, in as far as its body can be seen; nil for one without a body that Apus may read.
    private func readRequest(_ form: Conversation.DecisionForm) throws(PickerError) -> PickedRequest? {
        switch form {
        case .headers, .trailers:
            record.isHeadersOnly = true
            return nil
        case .bufferedBody(isPartial: true):
            // Envoy kept back the rest, so nothing more can be known of the request than that.
            guard let found = InferenceRequest.readPartial(body) else { return nil }
            return PickedRequest(model: found.model, modelRange: found.modelRange, inference: nil)
        case .headersAndBody, .bufferedBody(isPartial: false):
            return try director.parse(headers: headers, body: body, with: settings.parsers)
        }
    }
}
