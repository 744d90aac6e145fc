internal import Bytes
internal import ExtProc
internal import Inference
internal import Orchestration
internal import Pool
internal import RPC
internal import Scheduling
internal import Telemetry

// The orchestrated way of a request: its legs, then either the gateway or Apus itself sends the decode.
extension Exchange {
    func orchestrate(
        _ plan: LegPlan,
        as use: LegPlan.Use,
        _ form: Conversation.DecisionForm,
        _ inference: InferenceRequest?,
        _ edits: BodyEdits,
        _ forwarding: Forwarding
    ) async throws {
        // One of Apus's own that came back to it, or to another: it would go round.
        guard headers["x-apus-depth"] ?? "0" == "0" else {
            throw PickerError(.badRequest, "a sub-request may have no sub-requests", fault: .client)
        }
        let orchestrator = plan.orchestration.orchestrator
        let journal = RequestJournal(record, director.telemetry)
        let request = legRequest(plan, inference, edits, journal)
        let active = OrchestratedExchange(orchestrator, request, journal)
        orchestrated = active
        switch use {
        case .handOff:
            let order = try await orFail(active) { () async throws(OrchestrationError) in
                try await orchestrator.prepareDecode(of: request)
            }
            active.order = order
            try await handOff(order, active, form, forwarding)
        case .relay:
            let relayed = try await orFail(active) { () async throws(OrchestrationError) in
                try await orchestrator.relayDecode(of: request)
            }
            try await relay(relayed, active)
        }
    }

    /// Runs legs; when they fail for good, nothing is kept for them any more.
    private func orFail<Value>(
        _ active: OrchestratedExchange,
        _ legs: () async throws(OrchestrationError) -> Value
    ) async throws -> Value {
        do throws(OrchestrationError) {
            return try await legs()
        } catch {
            active.letGo()
            throw Self.refusal(error)
        }
    }

    private func legRequest(
        _ plan: LegPlan,
        _ inference: InferenceRequest?,
        _ edits: BodyEdits,
        _ journal: RequestJournal
    ) -> OrchestratedRequest {
        let orchestration = plan.orchestration
        let facts = OrchestratedRequest.Facts(
            inference: inference,
            body: SharedBytes(body.take()),
            edits: edits,
            model: record.targetModel,
            method: record.method.isEmpty ? "POST" : record.method,
            path: record.path.isEmpty ? "/" : record.path,
            requestID: record.requestID,
            mayReturn: !hasOwnRequestID,
            identity: XXH3.hash(headers["authorization"] ?? "", seed: XXH3.hash(record.targetModel))
        )
        // What the decision reserved is for the first attempts; who decodes is chosen when it is time.
        var first: [Stage: StagePick] = [:]
        if plan.wantsPrefill, let prefill = stages?.prefill.take() {
            first[.prefill] = StagePick(prefill)
        }
        if !plan.wantsPrefill, !plan.wantsEncode, let decode = reservation.take() {
            first[.decode] = StagePick(decode)
        }
        stages = nil
        reservation = nil
        return OrchestratedRequest(
            facts,
            wantsPrefill: plan.wantsPrefill,
            wantsEncode: plan.wantsEncode,
            first: first,
            picker: plan.picker,
            transport: orchestration.transport(headers, record.trace),
            journal: journal,
            generator: generator,
            deadline: orchestration.orchestrator.nextDeadline,
            clientGone: { [call] in await call.peerHasFinished() }
        )
    }

    /// What ends the exchange when orchestration cannot go on.
    static func refusal(_ error: OrchestrationError) -> any Error {
        if let refusal = PickerError(error) { return refusal }
        if case .refused(let answer) = error {
            return ImmediateAnswer(
                status: answer.status,
                headers: ResponseFields.forwarded(answer.headers),
                body: answer.body
            )
        }
        return RPCError(code: .cancelled, message: "the client hung up while sub-requests were under way")
    }

    // MARK: Hand-off

    /// Gives the decode to the gateway.
    private func handOff(
        _ order: DecodeOrder,
        _ active: OrchestratedExchange,
        _ form: Conversation.DecisionForm,
        _ forwarding: Forwarding
    ) async throws {
        if let answer = order.answer {
            active.letGo()
            throw finalAnswer(answer)
        }
        guard let pick = order.decode else { throw PickerError.noEndpoints }
        reservation = pick.reservation.take()
        cachedTokens = order.cachedTokens
        var forwarding = forwarding
        forwarding.destination = pick.endpoint.hostPort
        answer.destinations = [Destination(hostPort: pick.endpoint.hostPort, endpoint: pick.endpoint.hostPort)]
        // No sidecar shall send these legs again.
        forwarding.headers = []
        // What the prefill left is good for one decode only.
        if order.prefill != nil { forwarding.headers.append((ControlHeaders.maxRetries, "0")) }
        forwarding.traceParent = record.trace?.header(
            ofLeg: Stage.decode.rawValue,
            endpoint: pick.endpoint.hostPort,
            attempt: 1
        )
        let plan = tell(form, forwarding, bodyByteCount: order.body.count, isEdited: true)
        // From its last byte on it may have arrived, whatever becomes of the stream to the gateway.
        try await send(plan, of: order.body) { order.dispatched() }
        active.handedOffAt = MonotonicTime.now().nanoseconds
        order.companion?.whenEnded { [call, alarms] in alarms.raise(.companionEnded, call) }
        watch(active)
    }

    /// Keeps an eye on a decode that could be run again.
    private func watch(_ active: OrchestratedExchange) {
        guard !record.isStreaming else { return }
        active.watched = director.silence.watch(until: active.orchestrator.settings.decodeTimeout) { [call, alarms] in
            alarms.raise(.decodeIsSilent, call)
        }
    }

    /// Something happened beside the frames.
    func attend(to reasons: ExchangeAlarms.Reasons) async throws {
        guard let active = orchestrated, let order = active.order else { return }
        if reasons.contains(.companionEnded) {
            guard let error = active.orchestrator.companionEnded(order) else {
                try await releaseHead()
                return
            }
            if record.responseHeadersAt == 0 || active.heldHead != nil {
                active.orchestrator.abort(order)
                if mayRescue(active), case .exhausted = error {
                    return try await rescue(active, from: .prefill)
                }
                active.letGo()
                throw Self.refusal(error)
            } else if conversation.modes.response == .streamed, record.firstByteAt == 0, !hasStoppedBodies {
                // The client has the head of a response that would not go on.
                active.orchestrator.abort(order)
                reportDecode("cancelled")
                throw RelayBroken(reason: "prefill")
            }
        }
        if reasons.contains(.decodeIsSilent), record.responseHeadersAt == 0 || active.heldHead != nil, mayRescue(active)
        {
            if isGone(order) {
                try await rescue(active, from: .gone)
            } else if let limit = active.orchestrator.settings.decodeTimeout,
                MonotonicTime.now() >= MonotonicTime(nanoseconds: active.handedOffAt) + limit
            {
                try await rescue(active, from: .silence)
            }
        }
    }

    /// Whether the endpoint of a silent decode is no longer there.
    private func isGone(_ order: DecodeOrder) -> Bool {
        guard let endpoint = order.endpoint else { return false }
        let snapshot = director.pool.snapshot
        guard let index = snapshot.endpoints.firstIndex(where: { $0.number == endpoint.number }) else { return true }
        // An endpoint that was never scraped says nothing by its silence.
        guard snapshot.scrapes[index].updatedAt != nil else { return false }
        return !snapshot.scrapes[index].reachable
            && !snapshot.isFresh(index, at: .now(), threshold: director.pool.stalenessThreshold)
    }

    /// Whether the head of the decode's response waits for what follows: engines send it before the prompt is there, or tell only afterwards
    /// that they could not fetch it, and a response that has begun cannot be given by another.
    func mayHold(_ active: OrchestratedExchange, isLast: Bool) -> Bool {
        guard !isLast, conversation.modes.response.isDuplex, (200..<300).contains(record.status) else { return false }
        return active.order?.prefill != nil && mayRescue(active)
    }

    /// Whether a decode, whose response's head is held, fails with the first piece of its body.
    func failsLate(_ active: OrchestratedExchange, _ frame: borrowing Frame) -> Bool {
        guard active.heldHead != nil, mayRescue(active) else { return false }
        var isError = false
        frame.withBody { isError = DecodeAnswer.isError($0) }
        return isError
    }

    /// The response goes on, or nothing can fail it any more but its own endpoint.
    func releaseHead() async throws {
        guard let active = orchestrated, let head = active.heldHead.take() else { return }
        noteDecodeBegan(active)
        beginReading(head.fields)
        endStages()
        try await send(head.reply)
    }

    /// The decode has begun to answer: none will be run again, and what that would have needed can go.
    func noteDecodeBegan(_ active: OrchestratedExchange) {
        guard let order = active.order else { return }
        active.orchestrator.decodeAnswered(order, status: record.status)
        active.letGo()
    }

    // MARK: Running a decode again

    func mayRescue(_ active: OrchestratedExchange) -> Bool {
        !active.isRescued && active.request != nil && active.handedOffAt != 0 && !hasAnsweredResponse
    }

    private var hasAnsweredResponse: Bool { record.firstByteAt != 0 }

    /// Whether a response's head says that the decode failed, so that it may be run again.
    func isFailedDecode(_ active: OrchestratedExchange) -> Bool {
        mayRescue(active) && (record.status == 429 || record.status >= 500)
    }

    /// Why a handed-off decode is run again.
    enum Trouble {
        /// By the status of its answer.
        case status
        /// Its answer begins with an error.
        case badAnswer
        case silence
        /// Its endpoint has left the pool, or cannot be reached.
        case gone
        /// The prefill beside it failed; it is not to blame.
        case prefill
    }

    /// Runs a handed-off decode again elsewhere, and answers with the whole of it.
    func rescue(_ active: OrchestratedExchange, from trouble: Trouble) async throws {
        guard let request = active.request, let order = active.order else { return }
        active.isRescued = true
        active.watched = nil
        // What the client gets in the end is what counts.
        record.errorCode = nil
        active.heldHead = nil
        callBackPlace = nil
        reservation = nil
        let deadline = active.orchestrator.nextDeadline
        let outcome: String
        switch trouble {
        case .status:
            outcome = "http_\(record.status)"
            active.orchestrator.decodeAnswered(order, status: record.status)
        case .badAnswer, .silence:
            outcome = (trouble == .silence ? LegFailure.Code.timeout : .badResponse).rawValue
            active.orchestrator.decodeEnded(order, failed: true)
        case .gone: outcome = LegFailure.Code.timeout.rawValue
        case .prefill: outcome = LegFailure.Code.cancelled.rawValue
        }
        let report = reportDecode(outcome)
        if trouble == .prefill {
            request.decodeCancelled(deadline)
        } else if let endpoint = order.endpoint, let report {
            request.decodeFailed(endpoint, report, deadline)
        }
        active.orchestrator.conclude(order, isDecoded: false)
        director.telemetry.orchestration(.rescued)
        active.order = nil
        let relayed = try await orFail(active) { () async throws(OrchestrationError) in
            try await active.orchestrator.relayDecode(of: request)
        }
        let answer = try await whole(relayed, active)
        active.letGo()
        throw answer
    }

    // MARK: Records

    /// The decode is over: reports what has not been of the prefill beside it, which is called off unless the decode has come to its end.
    func concludeLegs(isDecoded: Bool) {
        guard let active = orchestrated, let order = active.order else { return }
        active.orchestrator.conclude(order, isDecoded: isDecoded)
    }

    /// Notes how the decode that the gateway was given ended.
    @discardableResult
    func reportDecode(_ outcome: String) -> LegReport? {
        guard let active = orchestrated, let endpoint = active.order?.endpoint, active.handedOffAt != 0,
            !active.hasReportedDecode
        else { return nil }
        active.hasReportedDecode = true
        let nanoseconds = MonotonicTime.now().nanoseconds - active.handedOffAt
        let report = LegReport(
            stage: .decode,
            endpoint: endpoint.hostPort,
            attempt: 1,
            outcome: outcome,
            seconds: Double(nanoseconds) / 1e9
        )
        active.journal.ended(report)
        return report
    }
}
