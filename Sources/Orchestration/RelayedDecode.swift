package import Bytes
internal import Inference
internal import Pool
internal import Scheduling

/// A decode that Apus runs itself: its answer has begun, and nothing of it has been passed on.
package struct RelayedDecode {
    package let order: DecodeOrder
    /// 1 for the first.
    package let attempt: Int
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
        var attempts = 0
        var withoutPermit = 0
        while attempts < settings.maxAttempts {
            guard now() < request.deadline else { throw .deadline }
            let order: DecodeOrder
            do throws(OrchestrationError) {
                order = try await prepareDecode(of: request)
            } catch .noDecodeEndpoint where !request.failedDecodes.isEmpty {
                break
            }
            if let answer = order.answer {
                let json = (name: "content-type", value: "application/json")
                return RelayedDecode(order: order, attempt: 0, status: 200, headers: [json], first: answer, rest: nil)
            }
            guard let endpoint = order.endpoint else { throw .noDecodeEndpoint }
            guard let pass = endpoint.breaker.enter(at: now()) else {
                request.failedDecodes.insert(endpoint.number)
                continue
            }
            request.decodeAttempts += 1
            let beginning = await begin(order, request)
            guard let beginning else {
                request.report(.decode, endpoint, attempt: request.decodeAttempts, "cancelled", seconds: 0)
                throw .clientGone
            }
            switch beginning {
            case .open(let open, let first):
                pass.succeeded()
                if !open.isElsewhere {
                    // What the prefill left is spent, and the endpoint's own report ends with its answer.
                    order.dispatched()
                    let rest = first == nil ? nil : open.body
                    return RelayedDecode(
                        order: order,
                        attempt: request.decodeAttempts,
                        status: open.status,
                        headers: open.headers,
                        first: first,
                        rest: rest
                    )
                }
                attempts += 1
                request.finishedPrefill = nil
                decodeEnded(order, failed: open.status >= 500 && open.status != 503)
                failed(endpoint, "http_\(open.status)", seconds: 0, request)
            case .failed(let failure):
                if failure.code == .noPermit {
                    request.decodeAttempts -= 1
                    withoutPermit += 1
                } else {
                    attempts += 1
                    if failure.countsForBreaker { pass.failed(at: now(), breakerPolicy) } else { pass.succeeded() }
                    // A request that did not arrive has spent nothing: the next endpoint may have what the prefill left.
                    if failure.mayHaveArrived {
                        request.finishedPrefill = nil
                        decodeEnded(order, failed: true)
                    }
                }
                failed(endpoint, failure.code.rawValue, seconds: failure.seconds, request)
            case .companionFailed:
                attempts += 1
                abort(order)
                if case .refused(let answer)? = companionEnded(order) { throw .refused(answer) }
            }
        }
        if now() >= request.deadline { throw .deadline }
        if attempts == 0, withoutPermit > 0 { throw .noPermit }
        throw .exhausted(.decode, request.failures)
    }

    private func failed(_ endpoint: Endpoint, _ outcome: String, seconds: Double, _ request: OrchestratedRequest) {
        request.failedDecodes.insert(endpoint.number)
        request.report(.decode, endpoint, attempt: request.decodeAttempts, outcome, seconds: seconds)
    }

    private enum Beginning: Sendable {
        case open(OpenLeg, first: SharedBytes?)
        case failed(LegFailure)
        /// The prefill that runs beside it has failed.
        case companionFailed
    }

    /// Sends the decode and waits for the first piece of its answer; nil when the client leaves before.
    private func begin(_ order: DecodeOrder, _ request: OrchestratedRequest) async -> Beginning? {
        guard let endpoint = order.endpoint else { return nil }
        let leg = LegRequest(
            stage: .decode,
            endpoint: endpoint,
            method: request.facts.method,
            path: request.facts.path,
            body: order.body,
            requestID: request.facts.requestID,
            attempt: request.decodeAttempts,
            timeout: max(.milliseconds(1), request.deadline.elapsed(since: now())),
            mayResend: order.prefill == nil
        )
        let transport = request.transport
        let companion = order.companion
        return await request.watch.during {
            await withTaskGroup(of: Beginning?.self) { group in
                group.addTask { await Self.begin(leg, transport) }
                if let companion {
                    group.addTask {
                        guard let result = await companion.end() else { return nil }
                        if case .success = LegVerdict(result) { return nil }
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

    private static func begin(_ leg: LegRequest, _ transport: any LegTransport) async -> Beginning {
        switch await transport.open(leg) {
        case .failure(let failure): return .failed(failure)
        case .success(let open):
            guard !open.isElsewhere else { return .open(open, first: nil) }
            do {
                return .open(open, first: try await open.body.next())
            } catch {
                return .failed(error)
            }
        }
    }
}

extension OpenLeg {
    /// Whether another endpoint may do better.
    fileprivate var isElsewhere: Bool {
        status == 408 || status == 429 || status >= 500
    }
}
