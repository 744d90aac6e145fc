internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// The serial prefill: one endpoint after the other until one has computed the prompt.
extension Orchestrator {
    /// Has the prompt computed; afterwards `finishedPrefill` is set, or the decode endpoint computes it, too.
    func prefill(_ request: OrchestratedRequest) async throws(OrchestrationError) {
        while let pick = try nextPrefill(request) {
            // The load goes with the leg, before the decode endpoint is chosen.
            defer { pick.reservation = nil }
            guard let pass = pick.endpoint.breaker.enter(at: now()) else {
                // Another request's try is under way there.
                request.failedPrefills.insert(pick.endpoint.number)
                continue
            }
            guard var context = request.context(settings.ports) else { return }
            request.journal.reached(.prefillSelected)
            context.prefill = pick.endpoint
            let leg = prefillLeg(request, context, pick.endpoint)
            let transport = request.transport
            let startedAt = now()
            guard let result = await request.watch.during({ await transport.send(leg) }) else {
                throw left(request, leg, since: startedAt)
            }
            settle(pass, result)
            if try accept(result, leg, context, request) {
                pick.reservation?.releaseTokens()
                return
            }
            request.failedPrefills.insert(pick.endpoint.number)
        }
        try giveUpPrefill(request)
    }

    /// The endpoint for the next attempt; nil when there is none to make.
    func nextPrefill(_ request: OrchestratedRequest) throws(OrchestrationError) -> StagePick? {
        guard request.prefills.mayGoOn(limit: settings.maxAttempts) else { return nil }
        let now = now()
        guard now < request.deadline else { throw .deadline }
        if let first = request.first.removeValue(forKey: .prefill), first.endpoint.breaker.allows(at: now),
            !request.failedPrefills.contains(first.endpoint.number)
        {
            return first
        }
        return request.picker.pick(.prefill, peer: nil) {
            request.failedPrefills.contains($0.number) || !$0.breaker.allows(at: now)
        }
    }

    func prefillLeg(_ request: OrchestratedRequest, _ context: LegContext, _ endpoint: Endpoint) -> LegRequest {
        request.prefills.began()
        var edits = request.edits
        connector.editPrefill(context, &edits)
        return LegRequest(
            stage: .prefill,
            endpoint: endpoint,
            path: request.facts.path,
            body: edits.applied(to: request.facts.body),
            headers: connector.prefillHeaders(context),
            requestID: request.facts.requestID,
            attempt: request.prefills.made,
            timeout: timeout(request),
            isLastMoment: isLastMoment(request),
            // A room is for one prefill: who sees it twice may take the second for the first.
            mayResend: connector.order == .serial
        )
    }

    /// What an attempt may take: its own limit, or what is left of the whole request's.
    func timeout(_ request: OrchestratedRequest) -> Duration {
        max(.milliseconds(1), min(settings.attemptTimeout, request.deadline.elapsed(since: now())))
    }

    /// Whether that is what is left of the whole request's.
    func isLastMoment(_ request: OrchestratedRequest) -> Bool {
        request.deadline.elapsed(since: now()) < settings.attemptTimeout
    }

    func settle(_ pass: consuming BreakerPass, _ result: Result<LegAnswer, LegFailure>) {
        switch result.breakerFailure {
        case true?: pass.failed(at: now(), breakerPolicy)
        case false?: pass.succeeded()
        case nil: break
        }
    }

    /// What an attempt came to: a body of status 200 may still tell of a failure.
    func verdict(_ result: Result<LegAnswer, LegFailure>, _ context: LegContext) -> (LegVerdict, Handover?) {
        let verdict = LegVerdict(result)
        guard case .success(let answer) = verdict else { return (verdict, nil) }
        do {
            return (verdict, try connector.readPrefill(answer.body.bytes, context))
        } catch {
            return (.elsewhere(outcome: LegFailure.Code.badResponse.rawValue, isInternalError: false), nil)
        }
    }

    /// True when the attempt did it. Throws what no other endpoint could make right.
    private func accept(
        _ result: Result<LegAnswer, LegFailure>,
        _ leg: LegRequest,
        _ context: LegContext,
        _ request: OrchestratedRequest
    ) throws(OrchestrationError) -> Bool {
        let (verdict, handover) = verdict(result, context)
        report(request, leg, verdict.outcome, seconds: result.seconds)
        guard case .success(let answer) = verdict, let handover else {
            try failed(verdict, request)
            return false
        }
        request.journal.reached(.prefillComplete)
        var finished = FinishedPrefill(handover, endpoint: leg.endpoint, attemptID: context.attemptID, at: now())
        if handover.isFinal {
            // A stream cannot be answered by a whole body: that request is decoded from its beginning.
            guard !context.request.stream else { return true }
            finished.answer = handover.answer.map { SharedBytes(ByteBuffer(copying: $0)) } ?? answer.body
        }
        request.finishedPrefill = finished
        return true
    }

    /// Counts an attempt that failed. Throws when no other endpoint shall be tried.
    func failed(_ verdict: LegVerdict, _ request: OrchestratedRequest) throws(OrchestrationError) {
        switch verdict {
        case .success: break
        case .noPermit(let isOverall): request.prefills.hadNoPermit(isOverall: isOverall)
        case .elsewhere(_, let isInternalError): request.prefills.failed(isInternalError: isInternalError)
        case .refused(let answer): throw .refused(answer)
        case .cancelled: throw .clientGone
        }
    }

    /// No attempt did it and none is left to make.
    func giveUpPrefill(_ request: OrchestratedRequest) throws(OrchestrationError) {
        if now() >= request.deadline { throw .deadline }
        if request.prefills.isStarved { throw .noPermit }
        try giveUp(.prefill, request)
        // Nor is any tried for a second decode.
        request.wantsPrefill = false
    }

    /// Fails, or leaves the stage to the endpoint that decodes.
    func giveUp(_ stage: Stage, _ request: OrchestratedRequest) throws(OrchestrationError) {
        let isLocal = settings.onExhausted == .decodeLocal && (stage != .prefill || connector.decodesAlone)
        request.journal.exhausted(stage, decodesLocally: isLocal)
        if !isLocal { throw .exhausted(stage, request.failures) }
    }

    /// Reports a leg that the client's leaving ended.
    func left(_ request: OrchestratedRequest, _ leg: LegRequest, since startedAt: MonotonicTime) -> OrchestrationError {
        report(request, leg, LegFailure.Code.cancelled.rawValue, seconds: now().seconds(since: startedAt))
        return .clientGone
    }

    func report(_ request: OrchestratedRequest, _ leg: LegRequest, _ outcome: String, seconds: Double) {
        request.report(leg.stage, leg.endpoint, attempt: leg.attempt, outcome, seconds: seconds)
    }
}

/// What the prefill attempts of one request came to, and whether another may follow.
struct PrefillAttempts {
    /// Attempts that could start.
    private(set) var made = 0
    private var failures = 0
    private var internalErrors = 0
    private var withoutPermit = 0
    /// There is no permit for any endpoint.
    private var isFull = false

    /// A second internal error is taken for the request's own doing: it shall not go round all endpoints.
    func mayGoOn(limit: Int) -> Bool { failures < limit && internalErrors < 2 && !isFull }

    /// No attempt could start for want of a permit.
    var isStarved: Bool { made == 0 && withoutPermit > 0 }

    mutating func began() { made += 1 }

    mutating func failed(isInternalError: Bool) {
        failures += 1
        if isInternalError { internalErrors += 1 }
    }

    /// The attempt that `began` did not start.
    mutating func hadNoPermit(isOverall: Bool) {
        made -= 1
        withoutPermit += 1
        isFull = isOverall
    }
}
