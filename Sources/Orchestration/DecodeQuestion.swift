internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// Legs to endpoints that decode, beside the decode itself: whether a prefill is needed, and what frees one that nobody needs.
extension Orchestrator {
    /// Of a question that was answered with no.
    private static let tooLittleOutcome = "cache_threshold"

    /// Asks an endpoint that decodes whether it has enough of the prompt; makes the order for its decode if so, nil if a prefill is needed.
    func askDecode(for request: OrchestratedRequest) async throws(OrchestrationError) -> DecodeOrder? {
        // What was encoded has its own threshold.
        guard !request.hasAskedDecode, !request.wantsEncode, var context = request.context(settings.ports),
            connector.asksDecode(context)
        else { return nil }
        request.hasAskedDecode = true
        guard now() < request.deadline, let pick = pickDecode(request, after: nil) else { return nil }
        // Its load goes with it, unless it decodes.
        var decodes = false
        defer { if !decodes { pick.reservation = nil } }
        guard let pass = pick.endpoint.breaker.enter(at: now()) else { return nil }
        context.decode = pick.endpoint
        var edits = request.edits
        connector.editQuestion(context, &edits)
        let leg = decodeLeg(request, to: pick.endpoint, edits.applied(to: request.facts.body))
        let transport = request.transport
        let startedAt = now()
        guard let result = await request.watch.during({ await transport.send(leg) }) else {
            throw left(request, leg, since: startedAt)
        }
        settle(pass, result)
        let verdict = LegVerdict(result)
        var outcome = verdict.outcome
        var cached: Handover?
        if case .success(let answer) = verdict {
            do throws(BadAnswer) {
                cached = try connector.readQuestion(answer.body.bytes)
                if cached == nil { outcome = Self.tooLittleOutcome }
            } catch {
                outcome = LegFailure.Code.badResponse.rawValue
            }
        }
        report(request, leg, outcome, seconds: result.seconds)
        switch verdict {
        case .refused(let answer): throw .refused(answer)
        case .cancelled: throw .clientGone
        case .success, .elsewhere, .noPermit: break
        }
        // Who cannot say gets a prefill.
        guard let cached else { return nil }
        decodes = true
        var decodeEdits = request.edits
        connector.editOwnDecode(context, &decodeEdits)
        request.journal.reached(.transferComplete)
        return DecodeOrder(
            request,
            decode: pick,
            body: decodeEdits.applied(to: request.facts.body),
            prefill: nil,
            cachedTokens: cached.cachedTokens ?? 0
        )
    }

    /// Has a decode endpoint fetch what a prefill left, so that it does not stay there. It is sent whoever has left.
    func fetch(_ finished: FinishedPrefill, _ request: OrchestratedRequest) {
        guard var context = request.context(settings.ports, attemptID: finished.attemptID),
            let pick = pickDecode(request, after: finished.endpoint)
        else { return }
        defer { pick.reservation = nil }
        guard pick.endpoint.number != finished.endpoint.number, let pass = pick.endpoint.breaker.enter(at: now()) else {
            return
        }
        context.prefill = finished.endpoint
        context.decode = pick.endpoint
        var edits = request.edits
        connector.editFetch(context, finished.handover, &edits)
        var leg = decodeLeg(request, to: pick.endpoint, edits.applied(to: request.facts.body))
        leg.timeout = settings.attemptTimeout
        leg.isLastMoment = false
        leg.mayResend = false
        leg.isUrgent = true
        let companion = companion(leg, of: request, pick, pass) { LegVerdict($0) }
        outlive(companion, request)
    }

    /// A leg to an endpoint that decodes; the request's next.
    func decodeLeg(_ request: OrchestratedRequest, to endpoint: Endpoint, _ body: PiecedBytes) -> LegRequest {
        LegRequest(
            stage: .decode,
            endpoint: endpoint,
            path: request.facts.path,
            body: body,
            requestID: request.facts.requestID,
            attempt: request.decodeAttempts + 1,
            timeout: timeout(request),
            isLastMoment: isLastMoment(request)
        )
    }
}
