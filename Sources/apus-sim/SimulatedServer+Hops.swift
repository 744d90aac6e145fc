import Bytes
import EngineSimulation
import HTTPServer

/// The decode's side: where a request's KV comes from before the engine has it.
extension SimulatedServer {
    /// Does what the plan says before the engine gets the request.
    func begin(_ number: Int, _ state: inout State) {
        guard let active = state.active[number] else { return }
        switch active.plan.action {
        case .none, .lease: enter(number, &state)
        case .announce(let key, _):
            guard state.meetings.announce(key) else {
                reject(number, APIError(status: 400, type: "BadRequestError", message: "\(key) is in use"), &state)
                return
            }
            enter(number, &state)
        case .claim(let peer, let key, let engineID, let parameters):
            claim(number, peer, key, engineID, parameters, &state)
        case .join(let peer, let key, let engine): join(number, peer, key, engine, &state)
        case .store(let threshold): look(number, threshold, &state)
        case .park:
            wait(number, "waiting", &state)
            count(.parked, &state)
            let isPrefill = active.plan.leg == .prefill
            after(
                isPrefill ? options.disaggregation.bootstrapTimeout : options.disaggregation.waitingTimeout,
                number,
                &state
            ) {
                server,
                state in
                server.timeOut(number, &state)
            }
        case .partial:
            count(.partialParameters, &state)
            switch options.disaggregation.partialParameters {
            case .local:
                count(.localFallback, &state)
                enter(number, &state)
            case .fail: loadFailed(number, &state)
            case .hang: wait(number, "hanging", &state)
            case .exit: state.after.append { self.lifecycle.exit() }
            }
        }
    }

    private func wait(_ number: Int, _ status: String, _ state: inout State) {
        state.log.change(number) { $0.status = status }
    }

    private func enter(_ number: Int, _ state: inout State) {
        if let error = submit(number, &state) { reject(number, error, &state) }
    }

    // MARK: Leases

    private func claim(
        _ number: Int,
        _ peer: SideChannel.Address,
        _ key: String,
        _ engineID: String,
        _ parameters: JSONValue,
        _ state: inout State
    ) {
        wait(number, "waiting", &state)
        let message = JSONValue.object([
            ("key", .string(key)),
            ("engine_id", .string(engineID)),
            ("parameters", parameters),
        ])
        state.after.append { [self] in
            SideChannel.send(.claim, message, to: peer, within: .seconds(5)) { [weak self] answer in
                self?.update { self?.claimed(number, peer, key, answer, &$0) }
            }
        }
    }

    private func claimed(
        _ number: Int,
        _ peer: SideChannel.Address,
        _ key: String,
        _ answer: SideChannel.Answer,
        _ state: inout State
    ) {
        guard case .message(let message) = answer, message["ok"]?.bool == true, let tokens = message["tokens"]?.integer
        else {
            loadFailed(number, &state)
            return
        }
        guard state.active[number] != nil else {
            // The client has left meanwhile.
            send(.done, key, to: peer, [("redeemed", .bool(false))], &state)
            return
        }
        state.active[number]?.source = ActiveRequest.Source(peer: peer, key: key)
        state.active[number]?.externalTokens = tokens
        beat(number, every: options.disaggregation.lease / 6, &state)
        enter(number, &state)
    }

    /// A decode that waits for its turn keeps its claim alive.
    private func beat(_ number: Int, every period: Duration, _ state: inout State) {
        let deadline = state.deadlines.add(at: MonotonicTime.now() + period) { [weak self] state in
            guard let self, let source = state.active[number]?.source else { return }
            send(.heartbeat, source.key, to: source.peer, [], &state)
            beat(number, every: period, &state)
        }
        state.active[number]?.source?.heartbeat = deadline
    }

    func send(
        _ message: SideChannel.Message,
        _ key: String,
        to peer: SideChannel.Address,
        _ more: [(String, JSONValue)],
        _ state: inout State
    ) {
        let content = JSONValue.object([("key", .string(key))] + more)
        state.after.append { SideChannel.send(message, content, to: peer, within: .seconds(5)) { _ in } }
    }

    /// The KV has arrived.
    func transferred(_ active: inout ActiveRequest, _ state: inout State) {
        guard let source = active.source else { return }
        active.source = nil
        state.deadlines.cancel(source.heartbeat)
        if !source.isMeeting { send(.done, source.key, to: source.peer, [("redeemed", .bool(true))], &state) }
    }

    /// A request ends before it has read what is kept for it.
    func leaveSource(_ active: ActiveRequest, _ state: inout State) {
        guard let source = active.source else { return }
        state.deadlines.cancel(source.heartbeat)
        if source.isMeeting {
            send(.leave, source.key, to: source.peer, [], &state)
        } else {
            send(.done, source.key, to: source.peer, [("redeemed", .bool(false))], &state)
        }
    }

    // MARK: Meetings

    private func join(
        _ number: Int,
        _ peer: SideChannel.Address,
        _ key: String,
        _ engine: JSONValue,
        _ state: inout State
    ) {
        wait(number, "waiting", &state)
        state.active[number]?.source = ActiveRequest.Source(peer: peer, key: key, isMeeting: true)
        let isShort = options.disaggregation.kvConnector == .offloading
        let timeout = min(options.disaggregation.waitingTimeout, isShort ? .seconds(5) : .seconds(1 << 30))
        after(timeout, number, &state) { server, state in server.timeOut(number, &state) }
        let message = JSONValue.object([("key", .string(key)), ("engine_id", engine)])
        state.after.append { [self] in
            SideChannel.send(.join, message, to: peer, within: timeout) { [weak self] answer in
                self?.update { self?.joined(number, answer, &$0) }
            }
        }
    }

    private func joined(_ number: Int, _ answer: SideChannel.Answer, _ state: inout State) {
        // It may have given up meanwhile.
        guard state.active[number]?.source?.isMeeting == true else { return }
        switch answer {
        // A prefill engine that goes away leaves its decodes waiting.
        case .lost: return
        case .message(let message) where message["ok"]?.bool == true:
            state.deadlines.cancel(state.active[number]?.deadline)
            state.active[number]?.deadline = nil
            state.active[number]?.source = nil
            state.active[number]?.externalTokens = message["tokens"]?.integer ?? 0
            enter(number, &state)
        case .message, .refused:
            state.active[number]?.source = nil
            loadFailed(number, &state)
        }
    }

    private func timeOut(_ number: Int, _ state: inout State) {
        count(.rendezvousTimeout, &state)
        if options.disaggregation.kvConnector == .offloading {
            leaveForGood(number, &state)
            return loadFailed(number, &state)
        }
        reject(
            number,
            APIError(
                status: 500,
                type: "InternalServerError",
                message: "The other side of the KV transfer did not come in time."
            ),
            &state
        )
    }

    private func leaveForGood(_ number: Int, _ state: inout State) {
        guard let active = state.active[number] else { return }
        leaveSource(active, &state)
        state.active[number]?.source = nil
    }

    // MARK: Shared storage

    private func look(_ number: Int, _ threshold: Double?, _ state: inout State) {
        guard let active = state.active[number] else { return }
        let blocks = state.engine.promptBlocks(of: active.engineRequest)
        let size = options.engine.blockSize
        let local = state.engine.cachedPrefix(of: blocks)
        let stored = storage.countOfPrefix(blocks)
        count(stored > local ? .storeHit : .storeMiss, &state)
        let found = max(local, stored) * size
        if let threshold, Double(found) < threshold * Double(max(active.request.promptTokens, 1)) {
            answerWithoutTokens(number, reason: "cache_threshold", &state)
            return
        }
        state.active[number]?.externalTokens = stored * size
        enter(number, &state)
    }

    // MARK: Failures

    /// The KV could not be had.
    func loadFailed(_ number: Int, _ state: inout State) {
        guard let active = state.active[number] else { return }
        count(.transferFailed, &state)
        state.deadlines.cancel(active.deadline)
        state.active[number]?.deadline = nil
        let settings = options.disaggregation
        // The offloading connector takes the other engine's memory for a cache: without it there is a miss, no failure.
        if settings.engine == .vllm, settings.failurePolicy == .recompute || settings.kvConnector == .offloading {
            count(.localFallback, &state)
            enter(number, &state)
        } else {
            reject(number, APIError(status: 500, type: "InternalServerError", message: "Internal server error"), &state)
        }
    }

    /// Answers an error: as a status, or as an event of a stream that has begun.
    func reject(_ number: Int, _ error: APIError, _ state: inout State) {
        guard let active = state.active.removeValue(forKey: number) else { return }
        release(active, &state)
        let body = error.body(for: active.request.api)
        state.log.change(number) { $0.bytes = body.utf8.count }
        switch active.sink {
        case .whole(let reply):
            fail(number, error.status, &state)
            reply.complete(json(body, status: error.status, headers: active.headers + error.headers))
        case .stream(let stream):
            fail(number, 200, &state)
            stream.write("data: \(body)\n\ndata: [DONE]\n\n".utf8)
            stream.finish()
        }
    }
}
