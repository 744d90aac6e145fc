internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// The concurrent prefill: it answers only once its decode is there, so both are sent together and fail together.
extension Orchestrator {
    /// How long a prefill that has been sent is watched before its decode is: an endpoint that is down or full says so at once, and then
    /// another can be taken without anybody noticing.
    static let grace = Duration.milliseconds(3)

    /// Sends a prefill and makes the order for its decode; nil when the decode endpoint shall do it all.
    func pair(_ request: OrchestratedRequest) async throws(OrchestrationError) -> DecodeOrder? {
        var attempts = PrefillAttempts(limit: settings.maxAttempts)
        while let prefill = try next(&attempts, request) {
            guard let pass = prefill.endpoint.breaker.enter(at: now()) else {
                request.failedPrefills.insert(prefill.endpoint.number)
                continue
            }
            guard var context = request.context(settings.ports) else { return nil }
            request.journal.reached(.prefillSelected)
            context.prefill = prefill.endpoint
            if let inquiry = connector.inquiry(context) {
                let peer = try await ask(inquiry, context, request, &attempts)
                guard let peer else {
                    request.failedPrefills.insert(prefill.endpoint.number)
                    continue
                }
                context.peer = peer
            }
            guard let decode = pickDecode(request, after: prefill.endpoint) else { throw .noDecodeEndpoint }
            context.decode = decode.endpoint
            let companion = CompanionLeg(
                prefillLeg(request, context, prefill.endpoint),
                request.transport,
                reservation: prefill.reservation.take(),
                pass: pass
            ) { [self] pass, result in settle(pass, result) }
            if let result = try await early(companion, request), try hasFailed(result, companion, request, &attempts) {
                request.failedPrefills.insert(prefill.endpoint.number)
                continue
            }
            var edits = request.edits
            connector.editDecode(context, nil, &edits)
            request.journal.reached(.transferComplete)
            return DecodeOrder(
                request,
                decode: decode,
                body: edits.applied(to: request.facts.body),
                prefill: prefill.endpoint,
                cachedTokens: nil,
                companion: companion,
                abort: connector.abort(context)
            )
        }
        try giveUp(.prefill, request, attempts)
        return nil
    }

    /// How the companion ended, when it has within its time of grace.
    private func early(
        _ companion: CompanionLeg,
        _ request: OrchestratedRequest
    ) async throws(OrchestrationError) -> Result<LegAnswer, LegFailure>? {
        let ended = await request.watch.during {
            await withTaskGroup(of: Result<LegAnswer, LegFailure>?.self) { group in
                group.addTask { await companion.end() }
                group.addTask {
                    try? await Task.sleep(for: Self.grace)
                    return nil
                }
                defer { group.cancelAll() }
                return await group.next() ?? nil
            }
        }
        guard let ended else { throw .clientGone }
        return ended
    }

    private func hasFailed(
        _ result: Result<LegAnswer, LegFailure>,
        _ companion: CompanionLeg,
        _ request: OrchestratedRequest,
        _ attempts: inout PrefillAttempts
    ) throws(OrchestrationError) -> Bool {
        let verdict = LegVerdict(result)
        switch verdict {
        case .success:
            return false
        case .noPermit:
            request.prefillAttempts -= 1
            attempts.hadNoPermit()
        case .elsewhere(_, let isInternalError):
            attempts.failed(isInternalError: isInternalError)
        case .refused(let answer):
            report(request, companion.leg, verdict.outcome, seconds: answer.seconds)
            throw .refused(answer)
        case .cancelled:
            throw .clientGone
        }
        report(request, companion.leg, verdict.outcome, seconds: result.seconds)
        return true
    }

    /// Asks the prefill endpoint what the legs must know of it; nil when it does not say.
    private func ask(
        _ inquiry: SideRequest,
        _ context: LegContext,
        _ request: OrchestratedRequest,
        _ attempts: inout PrefillAttempts
    ) async throws(OrchestrationError) -> PeerIdentity? {
        guard let endpoint = context.prefill else { return nil }
        let leg = sideLeg(inquiry, to: endpoint, .prefill, request, timeout: min(timeout(request), .seconds(5)))
        let transport = request.transport
        guard let result = await request.watch.during({ await transport.send(leg) }) else { throw .clientGone }
        if case .success(let answer) = result, answer.status == 200,
            let peer = try? connector.readInquiry(answer.body.bytes, context)
        {
            return peer
        }
        let verdict = LegVerdict(result)
        if case .noPermit = verdict { attempts.hadNoPermit() } else { attempts.failed(isInternalError: false) }
        if let failed = result.breakerFailure, failed, let pass = endpoint.breaker.enter(at: now()) {
            settle(pass, result)
        }
        let outcome = verdict.outcome == "ok" ? LegFailure.Code.badResponse.rawValue : verdict.outcome
        request.prefillAttempts += 1
        request.report(.prefill, endpoint, attempt: request.prefillAttempts, outcome, seconds: result.seconds)
        return nil
    }

    func sideLeg(
        _ side: SideRequest,
        to endpoint: Endpoint,
        _ stage: Stage,
        _ request: OrchestratedRequest,
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
            attempt: max(1, request.prefillAttempts),
            timeout: timeout
        )
    }

    // MARK: After the decode was sent

    /// What a companion that has ended means for its decode: an error when the decode waits in vain. Reports the leg; call once.
    package func companionEnded(_ order: DecodeOrder) -> OrchestrationError? {
        let request = order.request
        guard let companion = order.companion, let result = companion.result else { return nil }
        let verdict = LegVerdict(result)
        report(request, companion.leg, verdict.outcome, seconds: result.seconds)
        switch verdict {
        case .success:
            request.journal.reached(.prefillComplete)
            return nil
        case .refused(let answer):
            return .refused(answer)
        case .elsewhere, .noPermit, .cancelled:
            request.failedPrefills.insert(companion.leg.endpoint.number)
            decodeEnded(order, failed: true)
            return .exhausted(.prefill, request.failures)
        }
    }

    /// Tells the decode endpoint to give up, twice, as the first may come before the request itself.
    package func abort(_ order: DecodeOrder) {
        guard let side = order.abort, let endpoint = order.endpoint else { return }
        let leg = sideLeg(side, to: endpoint, .decode, order.request, timeout: .seconds(3))
        let transport = order.request.transport
        Task {
            _ = await transport.send(leg)
            try? await Task.sleep(for: .seconds(2))
            _ = await transport.send(leg)
        }
    }
}
