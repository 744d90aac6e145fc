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
        let ending: Result<Void, OrchestrationError> = await withTaskGroup(of: EncodeEvent.self) { group in
            let clientGone = request.watch.clientGone
            group.addTask { .clientGone(await clientGone()) }
            defer { group.cancelAll() }
            while true {
                while run.underWay < Self.fanOut, let item = run.next() {
                    let leg: EncodeLeg
                    do throws(OrchestrationError) {
                        guard let next = try encodeLeg(item, items[item], context, request, &run) else {
                            return .failure(.exhausted(.encode, request.failures))
                        }
                        leg = next
                    } catch {
                        return .failure(error)
                    }
                    let transport = request.transport
                    group.addTask { .ended(leg, await transport.send(leg.request)) }
                }
                if run.isDone { return .success(()) }
                guard let event = await group.next() else { return .failure(.clientGone) }
                switch event {
                case .clientGone(true): return .failure(.clientGone)
                case .clientGone(false): continue
                case .ended(let leg, let result):
                    if let error = accept(result, leg, request, &run) { return .failure(error) }
                }
            }
        }
        run.picks.removeAll()
        switch ending {
        case .success:
            encodeConnector.edit(context, with: run.results, &request.edits)
            request.journal.reached(.encodeComplete)
        case .failure(.exhausted):
            if run.made == 0, run.withoutPermit > 0 { throw .noPermit }
            let isLocal = settings.onExhausted == .decodeLocal
            request.journal.exhausted(.encode, decodesLocally: isLocal)
            if !isLocal { throw .exhausted(.encode, request.failures) }
        case .failure(let error): throw error
        }
    }

    /// The next attempt at an item; nil when there is none to make.
    private func encodeLeg(
        _ index: Int,
        _ item: EncodeItem,
        _ context: LegContext,
        _ request: OrchestratedRequest,
        _ run: inout EncodeRun
    ) throws(OrchestrationError) -> EncodeLeg? {
        let now = now()
        guard now < request.deadline else { throw .deadline }
        guard let encodeConnector, run.attempts[index] < settings.maxAttempts else { return nil }
        let failed = run.failed[index]
        let pick = request.picker.pick(.encode, peer: nil) {
            failed.contains($0.number) || !$0.breaker.allows(at: now)
        }
        guard let pick else { return nil }
        run.attempts[index] += 1
        run.picks[index] = pick
        run.underWay += 1
        let leg = LegRequest(
            stage: .encode,
            endpoint: pick.endpoint,
            path: "/v1/chat/completions",
            body: encodeConnector.body(of: item, context),
            requestID: "\(request.facts.requestID)-enc-\(index)",
            attempt: run.attempts[index],
            timeout: timeout(request)
        )
        return EncodeLeg(item: index, request: leg)
    }

    /// Nil when the run may go on.
    private func accept(
        _ result: Result<LegAnswer, LegFailure>,
        _ leg: EncodeLeg,
        _ request: OrchestratedRequest,
        _ run: inout EncodeRun
    ) -> OrchestrationError? {
        let item = leg.item
        run.underWay -= 1
        run.picks[item] = nil
        if let pass = leg.request.endpoint.breaker.enter(at: now()) { settle(pass, result) }
        let verdict = LegVerdict(result)
        func again(_ outcome: String) -> OrchestrationError? {
            report(request, leg.request, outcome, seconds: result.seconds)
            run.failed[item].insert(leg.request.endpoint.number)
            run.waiting.append(item)
            return nil
        }
        switch verdict {
        case .success(let answer):
            guard let encodeConnector, let read = try? encodeConnector.read(answer.body.bytes) else {
                run.made += 1
                return again(LegFailure.Code.badResponse.rawValue)
            }
            run.made += 1
            run.done += 1
            run.results += read
            report(request, leg.request, "ok", seconds: answer.seconds)
            return nil
        case .elsewhere(let outcome, _):
            run.made += 1
            return again(outcome)
        case .noPermit:
            run.withoutPermit += 1
            return again(verdict.outcome)
        case .refused(let answer):
            report(request, leg.request, verdict.outcome, seconds: answer.seconds)
            return .refused(answer)
        case .cancelled:
            report(request, leg.request, verdict.outcome, seconds: result.seconds)
            return .clientGone
        }
    }
}

private struct EncodeLeg: Sendable {
    let item: Int
    let request: LegRequest
}

private enum EncodeEvent: Sendable {
    case clientGone(Bool)
    case ended(EncodeLeg, Result<LegAnswer, LegFailure>)
}

/// How far the items of one request have come.
private struct EncodeRun {
    /// Items that have no leg, in order.
    var waiting: [Int]
    var attempts: [Int]
    var failed: [Set<Int>]
    /// By item, while its leg is under way.
    var picks: [Int: StagePick] = [:]
    var results: [(hash: String, value: [UInt8])] = []
    var underWay = 0
    var done = 0
    var made = 0
    var withoutPermit = 0

    init(items: Int) {
        waiting = Array(0..<items)
        attempts = Array(repeating: 0, count: items)
        failed = Array(repeating: [], count: items)
    }

    var isDone: Bool { done == attempts.count }

    mutating func next() -> Int? { waiting.isEmpty ? nil : waiting.removeFirst() }
}
