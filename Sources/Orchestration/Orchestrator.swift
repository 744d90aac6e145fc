package import Bytes
internal import Inference
package import Pool
internal import Scheduling

/// Runs the legs of requests: encode, then prefill, then the choice of who decodes.
///
/// A request passes checkpoints (`Checkpoint`), and a failure takes it back to the last one it passed. Every choice of an endpoint is made
/// when it is needed, with the pool as it is then and without those that have failed this request.
package final class Orchestrator: Sendable {
    package let settings: OrchestrationSettings
    let connector: any Connector
    let encodeConnector: (any EncodeConnector)?
    package let pairs: PairBreakers
    package let resumptions: Resumptions
    let now: @Sendable () -> MonotonicTime

    /// - Parameters:
    ///   - pairs, resumptions: kept over changes of the configuration.
    package init(
        settings: OrchestrationSettings,
        connector: any Connector,
        encodeConnector: (any EncodeConnector)?,
        pairs: PairBreakers = PairBreakers(),
        resumptions: Resumptions = Resumptions(),
        now: @escaping @Sendable () -> MonotonicTime = { .now() }
    ) {
        self.settings = settings
        self.connector = connector
        self.encodeConnector = encodeConnector
        self.pairs = pairs
        self.resumptions = resumptions
        self.now = now
    }

    package var breakerPolicy: Breaker.Policy {
        Breaker.Policy(failures: settings.breaker.failures, openFor: settings.breaker.openFor)
    }

    /// When a request that begins now must be done with its sub-requests.
    package var nextDeadline: MonotonicTime { now() + settings.deadline }

    /// Does all that comes before a decode, and chooses who decodes.
    ///
    /// May be called again when a decode failed before its answer began: what is still good is used again.
    package func prepareDecode(of request: OrchestratedRequest) async throws(OrchestrationError) -> DecodeOrder {
        try examine(request)
        if request.wantsEncode, !request.isEncoded { try await encode(request) }
        guard request.wantsPrefill else { return try decodeOrder(request) }
        switch connector.order {
        case .serial:
            if request.finishedPrefill == nil { resume(request) }
            if request.finishedPrefill == nil { try await prefill(request) }
            return try decodeOrder(request)
        case .concurrent:
            if let order = try await pair(request) { return order }
            return try decodeOrder(request)
        }
    }

    /// Finds out whether the engines can split the request at all.
    private func examine(_ request: OrchestratedRequest) throws(OrchestrationError) {
        guard request.wantsPrefill, !request.isExamined, let inference = request.facts.inference else { return }
        request.isExamined = true
        switch connector.suitability(of: inference, in: request.facts.body) {
        case .suitable: break
        case .decodeAlone:
            request.wantsPrefill = false
            request.first[.prefill] = nil
        case .refused(let reason): throw .unsuitable(reason)
        }
    }

    // MARK: The decode

    /// Chooses the endpoint that decodes and builds its body. A handover is spent when the order is dispatched.
    private func decodeOrder(_ request: OrchestratedRequest) throws(OrchestrationError) -> DecodeOrder {
        let finished = request.finishedPrefill
        if let finished, let answer = finished.answer {
            return DecodeOrder(request, answer: answer, prefill: finished.endpoint)
        }
        guard let pick = pickDecode(request, after: finished?.endpoint) else { throw .noDecodeEndpoint }
        var edits = request.edits
        if let finished, var context = request.context(settings.ports) {
            context.prefill = finished.endpoint
            context.decode = pick.endpoint
            connector.editDecode(context, finished.handover, &edits)
            request.journal.reached(.transferComplete)
        }
        return DecodeOrder(
            request,
            decode: pick,
            body: edits.applied(to: request.facts.body),
            prefill: finished?.endpoint,
            cachedTokens: finished.map { $0.handover.cachedTokens ?? 0 }
        )
    }

    /// Pairs that have failed together are avoided while there is another endpoint.
    func pickDecode(_ request: OrchestratedRequest, after prefill: Endpoint?) -> StagePick? {
        let now = now()
        let failed = request.failedDecodes
        if let first = request.first.removeValue(forKey: .decode), prefill == nil,
            !failed.contains(first.endpoint.number)
        {
            return first
        }
        if let prefill {
            let pick = request.picker.pick(.decode, peer: prefill) {
                failed.contains($0.number) || !self.pairs.allows(prefill, $0, at: now)
            }
            if let pick { return pick }
        }
        return request.picker.pick(.decode, peer: prefill) { failed.contains($0.number) }
    }

    /// Notes what became of a decode after its prefill, as far as the two endpoints together are concerned.
    package func decodeEnded(_ order: DecodeOrder, failed: Bool) {
        guard let prefill = order.prefill, let decode = order.endpoint else { return }
        pairs.ended(prefill, decode, failed: failed, at: now(), breakerPolicy)
    }

    // MARK: Coming again

    /// Takes up what an earlier request with this id left.
    private func resume(_ request: OrchestratedRequest) {
        guard !request.hasTriedToResume, let key = key(of: request) else { return }
        request.hasTriedToResume = true
        guard resumptions.count > 0, let entry = resumptions.take(key, at: now()) else { return }
        request.finishedPrefill = FinishedPrefill(handover: entry.handover, endpoint: entry.prefill)
        request.first[.prefill] = nil
        request.journal.resumed()
        request.journal.reached(.prefillComplete)
    }

    /// The request ends: what no decode has seen is kept for its return, or lost.
    package func end(_ request: OrchestratedRequest) {
        request.first.removeAll()
        guard let finished = request.finishedPrefill.take(), finished.answer == nil else { return }
        var lost = 1
        if let key = key(of: request) {
            lost = resumptions.keep(finished.handover, from: finished.endpoint, for: key, at: now())
        }
        for _ in 0..<lost { request.journal.stranded() }
    }

    private func key(of request: OrchestratedRequest) -> Resumptions.Key? {
        guard request.facts.mayReturn else { return nil }
        let body = request.facts.body
        let fingerprint = XXH3.hash(body.bytes, seed: request.facts.identity)
        return Resumptions.Key(requestID: request.facts.requestID, fingerprint: fingerprint)
    }
}

/// All that a decode needs: where it goes and what it is sent.
package final class DecodeOrder {
    /// Nil when the prefill has answered already.
    package let decode: StagePick?
    package private(set) var body: PiecedBytes
    package let prefill: Endpoint?
    /// Tokens that the prefill endpoint had cached, for the response's usage; nil when the decode's own report is right.
    package let cachedTokens: Int?
    /// The prefill's whole answer, when there is nothing to decode.
    package let answer: SharedBytes?
    /// The prefill that runs while this decode does.
    package let companion: CompanionLeg?
    /// What tells the endpoint that decodes to give up.
    let abort: SideRequest?
    let request: OrchestratedRequest

    package var endpoint: Endpoint? { decode?.endpoint }

    init(
        _ request: OrchestratedRequest,
        decode: StagePick,
        body: PiecedBytes,
        prefill: Endpoint?,
        cachedTokens: Int?,
        companion: CompanionLeg? = nil,
        abort: SideRequest? = nil
    ) {
        self.request = request
        self.decode = decode
        self.body = body
        self.prefill = prefill
        self.cachedTokens = cachedTokens
        self.companion = companion
        self.abort = abort
        answer = nil
    }

    init(_ request: OrchestratedRequest, answer: SharedBytes, prefill: Endpoint) {
        self.request = request
        self.prefill = prefill
        self.answer = answer
        decode = nil
        body = PiecedBytes()
        cachedTokens = nil
        companion = nil
        abort = nil
    }

    /// The body has been sent and will not be again.
    package func releaseBody() { body = PiecedBytes() }

    /// The decode is on its way: what the prefill left must not be given to another.
    package func dispatched() {
        request.finishedPrefill = nil
        request.journal.reached(.decodeForwarded)
    }
}
