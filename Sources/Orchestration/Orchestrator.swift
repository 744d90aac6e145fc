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
    let sleep: @Sendable (Duration) async throws -> Void

    /// - Parameters:
    ///   - pairs, resumptions: kept over changes of the configuration.
    ///   - sleep: returns after that time of `now`; throws when the task is cancelled.
    package init(
        settings: OrchestrationSettings,
        connector: any Connector,
        encodeConnector: (any EncodeConnector)?,
        pairs: PairBreakers = PairBreakers(),
        resumptions: Resumptions = Resumptions(),
        now: @escaping @Sendable () -> MonotonicTime = { .now() },
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) {
        self.settings = settings
        self.connector = connector
        self.encodeConnector = encodeConnector
        self.pairs = pairs
        self.resumptions = resumptions
        self.now = now
        self.sleep = sleep
    }

    /// Whether an endpoint that decodes can compute the prompt, too.
    package var decodesAlone: Bool { connector.decodesAlone }

    /// Whether a request that no prefill endpoint serves is left to the one that decodes.
    package var decodesLocally: Bool { settings.onExhausted == .decodeLocal && connector.decodesAlone }

    package var breakerPolicy: Breaker.Policy {
        Breaker.Policy(failures: settings.breaker.failures, openFor: settings.breaker.openFor)
    }

    /// When a request that begins now must be done with its sub-requests.
    package var nextDeadline: MonotonicTime { now() + settings.deadline }

    /// Does all that comes before a decode, and chooses who decodes.
    ///
    /// May be called again when a decode failed before its answer began: what is still good is used again. Every order is to be concluded
    /// (`conclude`) when its decode has ended or has been given up.
    package func prepareDecode(of request: OrchestratedRequest) async throws(OrchestrationError) -> DecodeOrder {
        try examine(request)
        if request.wantsEncode, !request.isEncoded { try await encode(request) }
        guard request.wantsPrefill else { return try decodeOrder(request) }
        switch connector.order {
        case .serial:
            if request.finishedPrefill == nil { resume(request) }
            if request.finishedPrefill == nil, let order = try await askDecode(for: request) { return order }
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
        case .decodeAlone(let reason):
            request.journal.decodedAlone(reason)
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
        // Nobody fetches a cache from itself.
        let isOwn = finished?.endpoint.number == pick.endpoint.number
        if let finished, var context = request.context(settings.ports, attemptID: finished.attemptID) {
            context.prefill = finished.endpoint
            context.decode = pick.endpoint
            if isOwn {
                connector.editOwnDecode(context, &edits)
            } else {
                connector.editDecode(context, finished.handover, &edits)
            }
            request.journal.reached(.transferComplete)
        }
        return DecodeOrder(
            request,
            decode: pick,
            body: edits.applied(to: request.facts.body),
            prefill: isOwn ? nil : finished?.endpoint,
            cachedTokens: finished.map { $0.handover.cachedTokens ?? 0 }
        )
    }

    /// Those that cannot be reached, pairs that have failed together, and the endpoint that computed the prompt are avoided.
    ///
    /// Where no other is left they are tried nevertheless; one that cannot be reached, too: the gateway, if that sends the decode, may know
    /// better.
    func pickDecode(_ request: OrchestratedRequest, after prefill: Endpoint?) -> StagePick? {
        let now = now()
        let failed = request.failedDecodes
        let isOut: (Endpoint) -> Bool = { failed.contains($0.number) || !$0.breaker.allows(at: now) }
        if let first = request.first.removeValue(forKey: .decode), prefill == nil, !isOut(first.endpoint) {
            return first
        }
        if let prefill {
            let isOutOrItself: (Endpoint) -> Bool = { isOut($0) || $0.number == prefill.number }
            if !pairs.isEmpty, let pick = pickInGoodPair(request, prefill, isOutOrItself, at: now) { return pick }
            if let pick = request.picker.pick(.decode, peer: prefill, excluding: isOutOrItself) { return pick }
        }
        if let pick = request.picker.pick(.decode, peer: prefill, excluding: isOut) { return pick }
        // A prefill can be done without; for the decode an endpoint that may be down is better than none.
        return request.picker.pick(.decode, peer: prefill) { failed.contains($0.number) }
    }

    private func pickInGoodPair(
        _ request: OrchestratedRequest,
        _ prefill: Endpoint,
        _ isOut: (Endpoint) -> Bool,
        at now: MonotonicTime
    ) -> StagePick? {
        // Pairs whose one try another request is making.
        var taken: Set<Int> = []
        while true {
            let pick = request.picker.pick(.decode, peer: prefill) {
                isOut($0) || taken.contains($0.number) || !pairs.allows(prefill, $0, at: now)
            }
            guard let pick else { return nil }
            pick.pairPass = pairs.enter(prefill, pick.endpoint, at: now)
            if pick.pairPass != nil { return pick }
            taken.insert(pick.endpoint.number)
        }
    }

    /// Notes what became of a decode after its prefill, as far as the two endpoints together are concerned. The first word counts.
    package func decodeEnded(_ order: DecodeOrder, failed: Bool) {
        guard let prefill = order.prefill, let decode = order.decode, !order.hasReportedPair else { return }
        order.hasReportedPair = true
        pairs.ended(prefill, decode.endpoint, decode.pairPass.take(), failed: failed, at: now(), breakerPolicy)
    }

    /// The same by the status of the decode's answer: that a decode endpoint is full, or refuses the request, says nothing of the two.
    package func decodeAnswered(_ order: DecodeOrder, status: Int) {
        if status < 400 {
            decodeEnded(order, failed: false)
        } else if status >= 500, status != 503 {
            decodeEnded(order, failed: true)
        }
    }

    // MARK: Coming again

    /// Takes up what an earlier request with this id left.
    private func resume(_ request: OrchestratedRequest) {
        guard !request.hasTriedToResume else { return }
        request.hasTriedToResume = true
        guard resumptions.count > 0, let key = key(of: request) else { return }
        let now = now()
        let taken = resumptions.take(key, at: now)
        for _ in 0..<taken.expired { request.journal.stranded() }
        guard let finished = taken.finished else { return }
        guard finished.endpoint.breaker.allows(at: now) else {
            // A decode could not fetch it.
            request.journal.stranded()
            return
        }
        request.finishedPrefill = finished
        request.first[.prefill] = nil
        request.journal.resumed()
        request.journal.reached(.prefillComplete)
    }

    /// The request ends: what no decode has seen is kept for its return, or lost. No leg may follow.
    package func end(_ request: OrchestratedRequest) {
        guard !request.hasEnded else { return }
        request.hasEnded = true
        request.first.removeAll()
        if let finished = request.finishedPrefill.take(), finished.answer == nil {
            if connector.mustBeFetched {
                request.journal.stranded()
                fetch(finished, request)
                return request.releaseBody()
            }
            let lost = key(of: request).map { resumptions.keep(finished, for: $0, at: now()) } ?? 1
            for _ in 0..<lost { request.journal.stranded() }
        }
        request.releaseBody()
    }

    private func key(of request: OrchestratedRequest) -> Resumptions.Key? {
        let facts = request.facts
        guard facts.mayReturn else { return nil }
        // One family's parameters mean nothing to another, and the same body may mean something else to another path.
        let way = XXH3.hash(facts.path, seed: XXH3.hash(settings.connector.rawValue, seed: facts.identity))
        return Resumptions.Key(requestID: facts.requestID, fingerprint: XXH3.hash(facts.body.bytes, seed: way))
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
    var hasReportedCompanion = false
    var hasReportedPair = false

    package var endpoint: Endpoint? { decode?.endpoint }

    /// Whether the prefill beside the decode may still fail it.
    package var awaitsPrefill: Bool { companion != nil && !hasReportedCompanion }

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
        spend()
        request.journal.reached(.decodeForwarded)
    }

    /// The decode endpoint may have seen what the prefill left.
    func spend() { request.finishedPrefill = nil }
}
