internal import Bytes
internal import Inference
internal import Pool
internal import Scheduling

// The encode stage: one leg per image, video or sound, some at a time.
extension Orchestrator {
    /// Encode legs of one request that are under way together.
    private static let fanOut = 8
    /// More items than this are a mistake or an attack.
    private static let itemLimit = 256

    /// Has every item encoded, and makes all later legs use it; or, where that is allowed, leaves it to them.
    func encode(_ request: OrchestratedRequest) async throws(OrchestrationError) {
        request.isEncoded = true
        guard let encodeConnector, let context = request.context(settings.ports) else { return }
        let items = encodeConnector.items(of: context.request, in: context.body)
        guard !items.isEmpty, items.count <= Self.itemLimit else { return }
        var run = EncodeRun(items: items.count)
        let ending = await encode(items, context, encodeConnector, request, &run)
        for underWay in run.underWay.values {
            _ = left(request, underWay.leg, since: underWay.startedAt)
        }
        run.underWay.removeAll()
        switch ending {
        case .success:
            encodeConnector.edit(context, with: run.results.flatMap { $0 }, &request.edits)
            request.journal.reached(.encodeComplete)
        case .failure(.exhausted):
            if now() >= request.deadline { throw .deadline }
            if !run.hasStarted, run.withoutPermit > 0 { throw .noPermit }
            try giveUp(.encode, request)
        case .failure(let error): throw error
        }
    }

    /// Sends legs until every item is encoded or one cannot be; all legs have ended then.
    private func encode(
        _ items: [EncodeItem],
        _ context: LegContext,
        _ connector: any EncodeConnector,
        _ request: OrchestratedRequest,
        _ run: inout EncodeRun
    ) async -> Result<Void, OrchestrationError> {
        await withTaskGroup(of: EncodeEvent.self) { group in
            let clientGone = request.watch.clientGone
            group.addTask { .clientGone(await clientGone()) }
            defer { group.cancelAll() }
            while true {
                do throws(OrchestrationError) {
                    while run.underWay.count < Self.fanOut, let item = run.next() {
                        guard let leg = try encodeLeg(item, items[item], context, connector, request, &run) else {
                            break
                        }
                        let transport = request.transport
                        group.addTask { .ended(item: item, await transport.send(leg)) }
                    }
                } catch {
                    return .failure(error)
                }
                if run.isDone { return .success(()) }
                switch await group.next() {
                case .clientGone(true), nil: return .failure(.clientGone)
                case .clientGone(false): continue
                case .ended(let item, let result):
                    if let error = accept(result, item, connector, request, &run) { return .failure(error) }
                }
            }
        }
    }

    /// The next attempt at an item; nil when it has to wait for a leg that is under way.
    private func encodeLeg(
        _ index: Int,
        _ item: EncodeItem,
        _ context: LegContext,
        _ connector: any EncodeConnector,
        _ request: OrchestratedRequest,
        _ run: inout EncodeRun
    ) throws(OrchestrationError) -> LegRequest? {
        let now = now()
        guard now < request.deadline else { throw .deadline }
        guard run.failures[index] < settings.maxAttempts else { throw .exhausted(.encode, request.failures) }
        while true {
            let failed = run.failed[index]
            let pick = request.picker.pick(.encode, peer: nil) {
                failed.contains($0.number) || !$0.breaker.allows(at: now)
            }
            guard let pick else {
                // What another item's leg finds out of its endpoint may let this one go there.
                guard run.isTrying(otherThan: failed) else { throw .exhausted(.encode, request.failures) }
                run.waiting.append(index)
                return nil
            }
            guard let pass = pick.endpoint.breaker.enter(at: now) else {
                run.failed[index].insert(pick.endpoint.number)
                continue
            }
            let leg = LegRequest(
                stage: .encode,
                endpoint: pick.endpoint,
                path: "/v1/chat/completions",
                body: connector.body(of: item, context),
                requestID: "\(request.facts.requestID)-enc-\(index)",
                attempt: run.failures[index] + 1,
                timeout: timeout(request),
                isLastMoment: isLastMoment(request)
            )
            run.underWay[index] = EncodeUnderWay(leg, pick, consume pass, at: now)
            return leg
        }
    }

    /// Nil when the run may go on.
    private func accept(
        _ result: Result<LegAnswer, LegFailure>,
        _ item: Int,
        _ connector: any EncodeConnector,
        _ request: OrchestratedRequest,
        _ run: inout EncodeRun
    ) -> OrchestrationError? {
        guard let underWay = run.underWay.removeValue(forKey: item) else { return nil }
        let leg = underWay.leg
        if let pass = underWay.pass.take() { settle(pass, result) }
        underWay.pick.reservation = nil
        var verdict = LegVerdict(result)
        if case .success(let answer) = verdict {
            if let read = try? connector.read(answer.body.bytes) {
                run.results[item] = read
                run.done += 1
            } else {
                verdict = .elsewhere(outcome: LegFailure.Code.badResponse.rawValue, isInternalError: false)
            }
        }
        report(request, leg, verdict.outcome, seconds: result.seconds)
        switch verdict {
        case .success:
            run.hasStarted = true
            return nil
        case .refused(let answer): return .refused(answer)
        case .cancelled: return .clientGone
        case .noPermit(let isOverall):
            run.withoutPermit += 1
            // No other endpoint would do either.
            if isOverall { return .exhausted(.encode, request.failures) }
        case .elsewhere:
            run.hasStarted = true
            run.failures[item] += 1
        }
        run.failed[item].insert(leg.endpoint.number)
        run.waiting.append(item)
        return nil
    }
}

private enum EncodeEvent: Sendable {
    case clientGone(Bool)
    case ended(item: Int, Result<LegAnswer, LegFailure>)
}

/// A leg that has been sent, and what is held for it. It belongs to the request's own task.
private final class EncodeUnderWay {
    let leg: LegRequest
    let pick: StagePick
    var pass: BreakerPass?
    let startedAt: MonotonicTime

    init(_ leg: LegRequest, _ pick: StagePick, _ pass: consuming BreakerPass, at now: MonotonicTime) {
        self.leg = leg
        self.pick = pick
        self.pass = consume pass
        startedAt = now
    }
}

/// How far the items of one request have come.
private struct EncodeRun {
    /// Items that have no leg.
    var waiting: [Int]
    /// By item: attempts that failed, endpoints that failed it or had no room, and what was encoded.
    var failures: [Int]
    var failed: [Set<Int>]
    var results: [[(hash: String, value: [UInt8])]]
    /// By item.
    var underWay: [Int: EncodeUnderWay] = [:]
    var done = 0
    /// A leg has ended that could begin.
    var hasStarted = false
    var withoutPermit = 0

    init(items: Int) {
        waiting = Array(0..<items)
        failures = Array(repeating: 0, count: items)
        failed = Array(repeating: [], count: items)
        results = Array(repeating: [], count: items)
    }

    var isDone: Bool { done == failures.count }

    mutating func next() -> Int? { waiting.isEmpty ? nil : waiting.removeFirst() }

    /// Whether a leg is under way to an endpoint that is none of these.
    func isTrying(otherThan failed: Set<Int>) -> Bool {
        underWay.values.contains { !failed.contains($0.leg.endpoint.number) }
    }
}
