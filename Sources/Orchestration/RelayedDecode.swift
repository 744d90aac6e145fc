package import Bytes
internal import Inference
internal import Pool
internal import Scheduling

/// A decode that Apus runs itself: its answer has begun, and nothing of it has been passed on. Its order is to be concluded at its end.
package struct RelayedDecode {
    package let order: DecodeOrder
    /// 1 for the first.
    package let attempt: Int
    /// When the decode was sent.
    package let startedAt: MonotonicTime
    package let status: Int
    package let headers: [(name: String, value: String)]
    /// The first piece of the body; nil when it has none.
    package let first: SharedBytes?
    /// The rest; nil when `first` is all there is.
    package let rest: (any LegBody)?
}

// Relay: a decode that fails before its answer has begun is run again elsewhere.
extension Orchestrator {
    /// Runs a request to the point where its answer has begun.
    package func relayDecode(of request: OrchestratedRequest) async throws(OrchestrationError) -> RelayedDecode {
        var tally = DecodeTally()
        while tally.failures < settings.maxAttempts, !tally.isFull {
            guard now() < request.deadline else { throw .deadline }
            let order: DecodeOrder
            do throws(OrchestrationError) {
                try checkRoom(for: request)
                order = try await prepareDecode(of: request)
            } catch .noDecodeEndpoint where !request.failedDecodes.isEmpty {
                break
            } catch .noPermit where tally.failures > 0 {
                break
            }
            if let answer = order.answer {
                let json = (name: "content-type", value: "application/json")
                return RelayedDecode(
                    order: order,
                    attempt: 0,
                    startedAt: now(),
                    status: 200,
                    headers: [json],
                    first: answer,
                    rest: nil
                )
            }
            guard let pick = order.decode else { throw .noDecodeEndpoint }
            // The load goes with a failed decode, before another endpoint is chosen.
            var isUnderWay = false
            defer { if !isUnderWay { pick.reservation = nil } }
            // Without a pass it goes all the same: there was no other endpoint.
            let pass = pick.endpoint.breaker.enter(at: now())
            if let relayed = try await relay(order, to: pick.endpoint, pass, request, &tally) {
                isUnderWay = true
                return relayed
            }
            conclude(order, isDecoded: false)
        }
        if now() >= request.deadline { throw .deadline }
        if tally.failures == 0, tally.withoutPermit > 0 { throw .noPermit }
        throw .exhausted(.decode, request.failures)
    }

    /// No prompt is computed that no endpoint could decode.
    private func checkRoom(for request: OrchestratedRequest) throws(OrchestrationError) {
        guard request.wantsPrefill || request.wantsEncode, request.finishedPrefill == nil else { return }
        let (failed, transport) = (request.failedDecodes, request.transport)
        guard transport.isFullSomewhere || !failed.isEmpty else { return }
        if request.picker.canPick(.decode, excluding: { failed.contains($0.number) || !transport.hasRoom(at: $0) }) {
            return
        }
        let isAnyLeft = request.picker.canPick(.decode) { failed.contains($0.number) }
        if isAnyLeft { throw .noPermit } else { throw .noDecodeEndpoint }
    }

    /// One attempt; nil when it has failed.
    private func relay(
        _ order: DecodeOrder,
        to endpoint: Endpoint,
        _ pass: consuming BreakerPass?,
        _ request: OrchestratedRequest,
        _ tally: inout DecodeTally
    ) async throws(OrchestrationError) -> RelayedDecode? {
        let leg = relayedLeg(order, to: endpoint, request)
        request.decodeAttempts += 1
        request.journal.reached(.decodeForwarded)
        let startedAt = now()
        guard let beginning = await begin(leg, order, request) else {
            order.spend()
            conclude(order, isDecoded: false)
            throw left(request, leg, since: startedAt)
        }
        func failed(_ outcome: String) {
            request.failedDecodes.insert(endpoint.number)
            report(request, leg, outcome, seconds: now().seconds(since: startedAt))
        }
        switch beginning {
        case .open(let open, let first):
            pass?.succeeded()
            // A decode that answers has seen what the prefill left, even if it wants none of it.
            order.spend()
            guard open.isElsewhere else {
                order.releaseBody()
                return RelayedDecode(
                    order: order,
                    attempt: leg.attempt,
                    startedAt: startedAt,
                    status: open.status,
                    headers: open.headers,
                    first: first,
                    rest: first == nil ? nil : open.body
                )
            }
            tally.failures += 1
            decodeAnswered(order, status: open.status)
            failed("http_\(open.status)")
        case .failed(let failure):
            switch failure.code {
            case .noPermit:
                request.decodeAttempts -= 1
                request.journal.retracted(.decodeForwarded)
                tally.withoutPermit += 1
                tally.isFull = failure.isOverall
                failed(failure.code.rawValue)
                return nil
            case .cancelled:
                order.spend()
                conclude(order, isDecoded: false)
                throw left(request, leg, since: startedAt)
            default: break
            }
            tally.failures += 1
            if failure.countsForBreaker { pass?.failed(at: now(), breakerPolicy) } else { pass?.succeeded() }
            // A request that did not arrive has spent nothing: the next endpoint may have what the prefill left.
            if failure.mayHaveArrived { order.spend() } else { request.journal.retracted(.decodeForwarded) }
            if failure.speaksAgainstPair { decodeEnded(order, failed: true) }
            failed(failure.code.rawValue)
        case .companionFailed:
            // The decode waits in vain, and is not to blame. How often that may happen is counted with the prefills.
            abort(order)
            report(request, leg, LegFailure.Code.cancelled.rawValue, seconds: now().seconds(since: startedAt))
            if case .refused(let answer)? = companionEnded(order) { throw .refused(answer) }
        }
        return nil
    }

    private func relayedLeg(_ order: DecodeOrder, to endpoint: Endpoint, _ request: OrchestratedRequest) -> LegRequest {
        var leg = decodeLeg(request, to: endpoint, order.body)
        leg.method = request.facts.method
        leg.timeout = settings.decodeTimeout ?? max(.milliseconds(1), request.deadline.elapsed(since: now()))
        leg.isLastMoment = settings.decodeTimeout == nil
        // What the prefill left is good for one decode only.
        leg.mayResend = order.prefill == nil
        return leg
    }

    private enum Beginning: Sendable {
        case open(OpenLeg, first: SharedBytes?)
        case failed(LegFailure)
        /// The prefill that runs beside it has failed.
        case companionFailed
    }

    /// Sends the decode and waits for the first piece of its answer; nil when the client leaves before.
    private func begin(_ leg: LegRequest, _ order: DecodeOrder, _ request: OrchestratedRequest) async -> Beginning? {
        let transport = request.transport
        let isShielded = order.prefill != nil && connector.mustBeFetched
        let companion = order.companion
        return await request.watch.during {
            await withTaskGroup(of: Beginning?.self) { group in
                group.addTask {
                    if isShielded { await self.beginShielded(leg, transport) } else { await self.begin(leg, transport) }
                }
                if let companion {
                    group.addTask {
                        guard let ending = await companion.end(), !ending.verdict.isSuccess else { return nil }
                        return .companionFailed
                    }
                }
                defer { group.cancelAll() }
                while let event = await group.next() {
                    if let event { return event }
                }
                return .failed(LegFailure(.cancelled, "cancelled"))
            }
        }
    }

    /// The same, not called off at once: until its first byte, or for a time in which the prompt's cache has been fetched.
    private func beginShielded(_ leg: LegRequest, _ transport: any LegTransport) async -> Beginning {
        let beginning = Task { await begin(leg, transport) }
        return await withTaskCancellationHandler {
            await beginning.value
        } onCancel: {
            Task { [sleep] in
                try? await sleep(Self.fetchTime)
                beginning.cancel()
            }
        }
    }

    /// What fetching a prompt's cache takes at most, in the common case.
    private static let fetchTime = Duration.seconds(5)

    private func begin(_ leg: LegRequest, _ transport: any LegTransport) async -> Beginning {
        let startedAt = now()
        switch await transport.open(leg) {
        case .failure(let failure): return .failed(failure)
        case .success(let open):
            guard !open.isElsewhere else { return .open(open, first: nil) }
            // The head was in time; the first piece has to be, too.
            let left = max(.milliseconds(1), (startedAt + leg.timeout).elapsed(since: now()))
            let isLate = Flag()
            let timer = Task { [sleep] in
                guard (try? await sleep(left)) != nil else { return }
                isLate.set()
                open.body.cancel()
            }
            defer { timer.cancel() }
            let first: Result<SharedBytes?, LegFailure> = await withTaskCancellationHandler {
                do throws(LegFailure) {
                    return .success(try await open.body.next())
                } catch {
                    return .failure(error)
                }
            } onCancel: {
                open.body.cancel()
            }
            switch first {
            case .success(let first):
                if let first, open.status == 200, DecodeAnswer.isError(first.bytes) {
                    open.body.cancel()
                    return .failed(LegFailure(.badResponse, "the stream begins with an error"))
                }
                return .open(open, first: first)
            case .failure(let failure):
                guard isLate.isSet, failure.code == .cancelled else { return .failed(failure) }
                return .failed(
                    LegFailure(.timeout, "no byte of an answer in time", countsForBreaker: !leg.isLastMoment)
                )
            }
        }
    }
}

/// What became of the decodes of one relayed request.
private struct DecodeTally {
    var failures = 0
    var withoutPermit = 0
    /// There is no permit for any endpoint.
    var isFull = false
}

private final class Flag: Sendable {
    private let state = Lock(false)
    var isSet: Bool { state.withLock { $0 } }
    func set() { state.withLock { $0 = true } }
}

/// What the beginning of a decode's answer tells.
package enum DecodeAnswer {
    /// Whether a stream of events begins with an error: an engine that could not fetch the prompt says so with status 200.
    package static func isError(_ bytes: RawSpan) -> Bool {
        bytes.starts(with: "data: {\"error\"")
    }
}

extension OpenLeg {
    /// Whether another endpoint may do better.
    fileprivate var isElsewhere: Bool {
        status == 408 || status == 429 || status >= 500
    }
}
