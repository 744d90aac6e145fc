internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// The serial prefill: one endpoint after the other until one has computed the prompt.
extension Orchestrator {
    /// Has the prompt computed; afterwards `finishedPrefill` is set, or the decode endpoint computes it, too.
    func prefill(_ request: OrchestratedRequest) async throws(OrchestrationError) {
        var attempts = PrefillAttempts(limit: settings.maxAttempts)
        while let pick = try next(&attempts, request) {
            let pass = pick.endpoint.breaker.enter(at: now())
            guard let pass else {
                // Another request's try is under way there.
                request.failedPrefills.insert(pick.endpoint.number)
                continue
            }
            guard var context = request.context(settings.ports) else { return }
            request.journal.reached(.prefillSelected)
            context.prefill = pick.endpoint
            let leg = prefillLeg(request, context, pick.endpoint)
            let transport = request.transport
            let result = await request.watch.during { await transport.send(leg) }
            guard let result else {
                report(request, leg, LegFailure.Code.cancelled.rawValue, seconds: 0)
                throw .clientGone
            }
            settle(pass, result)
            if try accept(result, leg, context, request, &attempts) { return }
            request.failedPrefills.insert(pick.endpoint.number)
        }
        try giveUp(.prefill, request, attempts)
    }

    /// The endpoint for the next attempt; nil when there is none to make.
    func next(
        _ attempts: inout PrefillAttempts,
        _ request: OrchestratedRequest
    ) throws(OrchestrationError) -> StagePick? {
        guard attempts.mayGoOn else { return nil }
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
        request.prefillAttempts += 1
        var edits = request.edits
        connector.editPrefill(context, &edits)
        return LegRequest(
            stage: .prefill,
            endpoint: endpoint,
            path: request.facts.path,
            body: edits.applied(to: request.facts.body),
            headers: connector.prefillHeaders(context),
            requestID: request.facts.requestID,
            attempt: request.prefillAttempts,
            timeout: timeout(request)
        )
    }

    /// What an attempt may take: its own limit, or what is left of the whole request's.
    func timeout(_ request: OrchestratedRequest) -> Duration {
        max(.milliseconds(1), min(settings.attemptTimeout, request.deadline.elapsed(since: now())))
    }

    func settle(_ pass: consuming BreakerPass, _ result: Result<LegAnswer, LegFailure>) {
        switch result.breakerFailure {
        case true?: pass.failed(at: now(), breakerPolicy)
        case false?: pass.succeeded()
        case nil: break
        }
    }

    /// True when the attempt did it. Throws what no other endpoint could make right.
    private func accept(
        _ result: Result<LegAnswer, LegFailure>,
        _ leg: LegRequest,
        _ context: LegContext,
        _ request: OrchestratedRequest,
        _ attempts: inout PrefillAttempts
    ) throws(OrchestrationError) -> Bool {
        let verdict = LegVerdict(result)
        switch verdict {
        case .success(let answer):
            do {
                let handover = try connector.readPrefill(answer.body.bytes, context)
                var finished = FinishedPrefill(handover: handover, endpoint: leg.endpoint)
                // A stream that is not there cannot be answered by a whole body.
                if handover.isFinal, !context.request.stream { finished.answer = answer.body }
                report(request, leg, "ok", seconds: answer.seconds)
                if !handover.isFinal || finished.answer != nil { request.finishedPrefill = finished }
                request.journal.reached(.prefillComplete)
                return true
            } catch {
                attempts.failed(isInternalError: false)
                report(request, leg, LegFailure.Code.badResponse.rawValue, seconds: answer.seconds)
                return false
            }
        case .noPermit:
            request.prefillAttempts -= 1
            attempts.hadNoPermit()
            report(request, leg, verdict.outcome, seconds: 0)
            return false
        case .elsewhere(let outcome, let isInternalError):
            attempts.failed(isInternalError: isInternalError)
            report(request, leg, outcome, seconds: result.seconds)
            return false
        case .refused(let answer):
            report(request, leg, verdict.outcome, seconds: answer.seconds)
            throw .refused(answer)
        case .cancelled:
            report(request, leg, verdict.outcome, seconds: result.seconds)
            throw .clientGone
        }
    }

    /// No attempt did it and none is left to make.
    func giveUp(
        _ stage: Stage,
        _ request: OrchestratedRequest,
        _ attempts: PrefillAttempts
    ) throws(OrchestrationError) {
        if now() >= request.deadline { throw .deadline }
        if attempts.made == 0, attempts.withoutPermit > 0 { throw .noPermit }
        let isLocal = settings.onExhausted == .decodeLocal
        request.journal.exhausted(stage, decodesLocally: isLocal)
        if !isLocal { throw .exhausted(stage, request.failures) }
    }

    func report(_ request: OrchestratedRequest, _ leg: LegRequest, _ outcome: String, seconds: Double) {
        request.report(leg.stage, leg.endpoint, attempt: leg.attempt, outcome, seconds: seconds)
    }
}

/// How many endpoints have been tried for one prefill, and whether another may be.
struct PrefillAttempts {
    let limit: Int
    private(set) var made = 0
    private(set) var withoutPermit = 0
    private var internalErrors = 0

    init(limit: Int) {
        self.limit = limit
    }

    /// A second internal error is taken for the request's own doing: it shall not go round all endpoints.
    var mayGoOn: Bool { made < limit && internalErrors < 2 }

    mutating func failed(isInternalError: Bool) {
        made += 1
        if isInternalError { internalErrors += 1 }
    }

    mutating func hadNoPermit() { withoutPermit += 1 }
}
