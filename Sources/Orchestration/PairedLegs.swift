internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// The concurrent prefill: it answers only once its decode is there, so both are sent together and fail together.
extension Orchestrator {
    /// How long a prefill that has been sent is watched before its decode is: an endpoint that is down or full says so at once, and then
    /// another can be taken without anybody noticing.
    static let grace = Duration.milliseconds(3)
    private static let inquiryTimeout = Duration.seconds(5)
    /// Between the two times that a decode endpoint is told to give up.
    static let abortInterval = Duration.seconds(2)

    /// Sends a prefill and makes the order for its decode; nil when the decode endpoint shall do it all.
    func pair(_ request: OrchestratedRequest) async throws(OrchestrationError) -> DecodeOrder? {
        while let pick = try nextPrefill(request) {
            guard let pass = pick.endpoint.breaker.enter(at: now()) else {
                request.failedPrefills.insert(pick.endpoint.number)
                continue
            }
            guard let context = request.context(settings.ports) else { return nil }
            request.journal.reached(.prefillSelected)
            if let order = try await pair(request, pick, pass, context) { return order }
            request.failedPrefills.insert(pick.endpoint.number)
        }
        try giveUpPrefill(request)
        return nil
    }

    /// One attempt; nil when it has failed.
    private func pair(
        _ request: OrchestratedRequest,
        _ pick: StagePick,
        _ pass: consuming BreakerPass,
        _ attempt: LegContext
    ) async throws(OrchestrationError) -> DecodeOrder? {
        var context = attempt
        context.prefill = pick.endpoint
        if let inquiry = connector.inquiry(context) {
            let leg = sideLeg(
                inquiry,
                to: pick.endpoint,
                .prefill,
                request,
                attempt: request.prefills.made + 1,
                timeout: min(timeout(request), Self.inquiryTimeout)
            )
            let result = try await ask(leg, request)
            guard let peer = try peer(in: result, leg, context, request) else {
                settle(pass, result)
                return nil
            }
            context.peer = peer
        }
        guard let decode = pickDecode(request, after: pick.endpoint) else { throw .noDecodeEndpoint }
        if decode.endpoint.number == pick.endpoint.number, connector.decodesAlone {
            pick.reservation = nil
            request.journal.retracted(.prefillSelected)
            request.journal.decodedAlone("no other endpoint than the prefill's decodes")
            return DecodeOrder(
                request,
                decode: decode,
                body: request.edits.applied(to: request.facts.body),
                prefill: nil,
                cachedTokens: nil
            )
        }
        context.decode = decode.endpoint
        let leg = prefillLeg(request, context, pick.endpoint)
        let companion = companion(leg, of: request, pick, pass) { [self, context] in verdict($0, context).0 }
        if let ending = try await early(companion, request), !ending.verdict.isSuccess {
            report(request, companion.leg, ending.verdict.outcome, seconds: ending.seconds)
            try failed(ending.verdict, request)
            return nil
        }
        var edits = request.edits
        connector.editDecode(context, nil, &edits)
        request.journal.reached(.transferComplete)
        return DecodeOrder(
            request,
            decode: decode,
            body: edits.applied(to: request.facts.body),
            prefill: pick.endpoint,
            cachedTokens: nil,
            companion: companion,
            abort: connector.abort(context)
        )
    }

    /// Sends a leg beside its request's way.
    ///
    /// - Parameter read: what an answer means.
    func companion(
        _ leg: LegRequest,
        of request: OrchestratedRequest,
        _ pick: StagePick,
        _ pass: consuming BreakerPass,
        _ read: @escaping @Sendable (Result<LegAnswer, LegFailure>) -> LegVerdict
    ) -> CompanionLeg {
        CompanionLeg(leg, request.transport, at: now(), reservation: pick.reservation.take(), pass: pass) {
            [self] pass, result in
            settle(pass, result)
            return CompanionLeg.Ending(
                verdict: read(result),
                seconds: result.seconds,
                speaksAgainstPair: result.speaksAgainstPair
            )
        }
    }

    /// How the companion ended, when it has within its time of grace.
    private func early(
        _ companion: CompanionLeg,
        _ request: OrchestratedRequest
    ) async throws(OrchestrationError) -> CompanionLeg.Ending? {
        let sleep = sleep
        let ended = await request.watch.during {
            await withTaskGroup(of: CompanionLeg.Ending?.self) { group in
                group.addTask { await companion.end() }
                group.addTask {
                    try? await sleep(Self.grace)
                    return nil
                }
                defer { group.cancelAll() }
                return await group.next() ?? nil
            }
        }
        guard let ended else {
            companion.cancel()
            throw left(request, companion.leg, since: companion.startedAt)
        }
        return ended
    }

    // MARK: The inquiry

    private func ask(
        _ leg: LegRequest,
        _ request: OrchestratedRequest
    ) async throws(OrchestrationError) -> Result<LegAnswer, LegFailure> {
        let transport = request.transport
        let startedAt = now()
        guard let result = await request.watch.during({ await transport.send(leg) }) else {
            throw left(request, leg, since: startedAt)
        }
        return result
    }

    /// What the prefill endpoint answered; nil, and the attempt has failed, when it is of no use.
    private func peer(
        in result: Result<LegAnswer, LegFailure>,
        _ leg: LegRequest,
        _ context: LegContext,
        _ request: OrchestratedRequest
    ) throws(OrchestrationError) -> PeerIdentity? {
        var verdict = LegVerdict(result)
        if case .success(let answer) = verdict, let peer = try? connector.readInquiry(answer.body.bytes, context) {
            return peer
        }
        let bad = LegVerdict.elsewhere(outcome: LegFailure.Code.badResponse.rawValue, isInternalError: false)
        switch verdict {
        case .success: verdict = bad
        // It is not the client's request that was refused.
        case .refused: verdict = .elsewhere(outcome: verdict.outcome, isInternalError: false)
        case .elsewhere(let outcome, _): verdict = .elsewhere(outcome: outcome, isInternalError: false)
        case .noPermit, .cancelled: break
        }
        request.prefills.began()
        report(request, leg, verdict.outcome, seconds: result.seconds)
        try failed(verdict, request)
        return nil
    }

    func sideLeg(
        _ side: SideRequest,
        to endpoint: Endpoint,
        _ stage: Stage,
        _ request: OrchestratedRequest,
        attempt: Int,
        timeout: Duration
    ) -> LegRequest {
        LegRequest(
            stage: stage,
            endpoint: endpoint,
            port: side.port,
            method: side.method,
            path: side.path,
            body: PiecedBytes(side.body),
            requestID: request.facts.requestID,
            attempt: attempt,
            timeout: timeout
        )
    }

    // MARK: After the decode was sent

    /// What a companion that has ended means for its decode: an error when the decode waits in vain, once.
    package func companionEnded(_ order: DecodeOrder) -> OrchestrationError? {
        let request = order.request
        guard let companion = order.companion, !order.hasReportedCompanion, let ending = companion.ending else {
            return nil
        }
        order.hasReportedCompanion = true
        report(request, companion.leg, ending.verdict.outcome, seconds: ending.seconds)
        if ending.verdict.isSuccess {
            request.journal.reached(.prefillComplete)
            return nil
        }
        request.failedPrefills.insert(companion.leg.endpoint.number)
        if ending.speaksAgainstPair { decodeEnded(order, failed: true) }
        do throws(OrchestrationError) {
            try failed(ending.verdict, request)
        } catch .refused(let answer) {
            return .refused(answer)
        } catch {
            // Only the companion was cancelled: its connection is gone all the same.
        }
        return .exhausted(.prefill, request.failures)
    }

    /// The order is done with: a companion that has not been reported is.
    ///
    /// - Parameter isDecoded: whether the decode has answered to its end; then the companion has done its part, though its own answer may
    ///   still be on its way. Otherwise it is called off.
    package func conclude(_ order: DecodeOrder, isDecoded: Bool) {
        guard let companion = order.companion, !order.hasReportedCompanion else { return }
        if companion.ending != nil {
            _ = companionEnded(order)
            return
        }
        order.hasReportedCompanion = true
        guard isDecoded else {
            companion.cancel()
            let seconds = now().seconds(since: companion.startedAt)
            return report(order.request, companion.leg, LegFailure.Code.cancelled.rawValue, seconds: seconds)
        }
        outlive(companion, order.request)
    }

    /// Lets a leg go on to its end when its request has ended, and then tells how it did.
    func outlive(_ companion: CompanionLeg, _ request: OrchestratedRequest) {
        let leg = companion.leg
        let unfinished = LegReport(
            stage: leg.stage,
            endpoint: leg.endpoint.hostPort,
            attempt: leg.attempt,
            outcome: LegVerdict.unfinishedOutcome,
            seconds: now().seconds(since: companion.startedAt)
        )
        let tell = request.journal.outlived(by: unfinished)
        // This keeps it until then.
        companion.whenEnded { [companion] in
            guard let ending = companion.ending else { return }
            var report = unfinished
            report.outcome = ending.verdict.outcome
            report.seconds = ending.seconds
            tell(report)
        }
    }

    /// Tells the decode endpoint to give up, twice, as the first may come before the request itself.
    package func abort(_ order: DecodeOrder) {
        guard let side = order.abort, let endpoint = order.endpoint else { return }
        let request = order.request
        let attempt = max(1, request.decodeAttempts)
        var leg = sideLeg(side, to: endpoint, .decode, request, attempt: attempt, timeout: .seconds(3))
        leg.isUrgent = true
        let urgent = leg
        let transport = request.transport
        let sleep = sleep
        Task {
            _ = await transport.send(urgent)
            try? await sleep(Self.abortInterval)
            _ = await transport.send(urgent)
        }
    }
}
