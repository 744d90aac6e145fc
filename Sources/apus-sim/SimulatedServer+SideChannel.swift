import Bytes
import EngineSimulation
import HTTPServer

/// The prefill's side: what other engines ask of this one.
extension SimulatedServer {
    /// The requests of other processes' engines, and those that ask who this is; nil for others.
    func sideChannel(_ request: HTTPRequest) -> HTTPReply? {
        if request.method == "GET", request.path == "/query" {
            let id = state.withLock { $0.ledger.engineID }
            return .response(json("{\"0\":{\"engine_id\":\(id.quotedAsJSON)}}"))
        }
        let prefix = "/sim/kv/"
        guard request.method == "POST", request.path.hasPrefix(prefix),
            let message = SideChannel.Message(rawValue: String(request.path.dropFirst(prefix.count))),
            let content = try? JSONReader.read(request.body)
        else { return nil }
        let reply = HTTPLaterReply()
        if message == .join, let key = content["key"]?.string {
            reply.onDisconnect { self.update { _ = $0.meetings.decodeLeft(key) } }
        }
        receive(message, content) { reply.complete(self.json($0.text)) }
        return .later(reply)
    }

    /// Takes a message and answers it, now or later.
    func receive(_ message: SideChannel.Message, _ content: JSONValue, _ answer: @escaping SideChannelReply) {
        guard let key = content["key"]?.string else { return answer(.object([("ok", .bool(false))])) }
        update { state in
            pump(&state, to: MonotonicTime.now())
            switch message {
            case .claim:
                let reply = claim(key, content, &state)
                state.after.append { answer(reply) }
            case .heartbeat:
                count(.heartbeat, &state)
                let isThere = state.ledger.extend(
                    key,
                    until: MonotonicTime.now() + options.disaggregation.lease * 2 / 3
                )
                state.after.append { answer(.object([("ok", .bool(isThere))])) }
            case .done:
                let redeemed = content["redeemed"]?.bool == true
                state.given[key] = nil
                if let blocks = state.ledger.finish(key, redeemed ? .redeemed : .abandoned) {
                    state.engine.release(blocks, at: MonotonicTime.now())
                    count(redeemed ? .redeemed : .released, &state)
                }
                state.after.append { answer(.object([("ok", .bool(true))])) }
            case .join: join(key, content, answer, &state)
            case .leave:
                if let decode = state.meetings.decodeLeft(key) {
                    state.after.append { decode(.object([("ok", .bool(false))])) }
                }
                state.after.append { answer(.object([("ok", .bool(true))])) }
            case .embedding:
                let isThere = state.embeddings.contains(key)
                state.after.append { answer(.object([("ok", .bool(isThere))])) }
            }
            pump(&state, to: MonotonicTime.now())
        }
    }

    private func claim(_ key: String, _ content: JSONValue, _ state: inout State) -> JSONValue {
        if let given = state.given[key] {
            count(content["parameters"]?.text == given ? .verbatim : .altered, &state)
        }
        let settings = options.disaggregation
        let until = MonotonicTime.now() + settings.lease * 2 / 3
        let result = state.ledger.claim(key, engineID: content["engine_id"]?.string, until: until)
        func refusal(_ reason: String) -> JSONValue {
            .object([("ok", .bool(false)), ("reason", .string(reason))])
        }
        switch result {
        case .granted(let tokens):
            count(.claimed, &state)
            return .object([("ok", .bool(true)), ("tokens", .integer(tokens))])
        case .otherEngine: return refusal("other engine")
        case .unknown, .taken, .ended:
            guard settings.isStrict || settings.engine == .trtllm else {
                // The blocks' numbers are all that the reader has: it reads what lies there now.
                count(.afterExpiry, &state)
                let tokens = content["parameters"]?["remote_num_tokens"]?.integer ?? 0
                return .object([("ok", .bool(true)), ("tokens", .integer(tokens))])
            }
            return refusal("\(result)")
        }
    }

    private func join(_ key: String, _ content: JSONValue, _ answer: @escaping SideChannelReply, _ state: inout State) {
        if let engine = content["engine_id"]?.string, engine != state.ledger.engineID {
            state.after.append { answer(.object([("ok", .bool(false)), ("reason", .string("other engine"))])) }
            return
        }
        count(.joined, &state)
        switch state.meetings.join(key, answer) {
        case .waits: break
        case .taken:
            state.after.append { answer(.object([("ok", .bool(false)), ("reason", .string("taken"))])) }
        case .ready(let tokens):
            state.after.append { answer(.object([("ok", .bool(true)), ("tokens", .integer(tokens))])) }
            handOver(key, &state)
        }
    }

    /// The decode has what the prefill has kept: its blocks are free, and a parked answer is given.
    private func handOver(_ key: String, _ state: inout State) {
        guard let finished = state.finished.removeValue(forKey: key) else { return }
        state.deadlines.cancel(finished.deadline)
        if let blocks = finished.blocks { state.engine.release(blocks, at: MonotonicTime.now()) }
        count(.redeemed, &state)
        guard let number = finished.parked, let active = state.active.removeValue(forKey: number) else { return }
        give(active.parkedAnswer ?? "", active, &state)
    }

    /// A prefill under a name has ended.
    ///
    /// - Returns: whether its answer may be given now.
    func meet(_ key: String, _ active: ActiveRequest, answerWaits: Bool, _ state: inout State) -> Bool {
        let tokens = active.request.promptTokens
        if let decode = state.meetings.ready(key, tokens: tokens) {
            if let blocks = active.engineID { state.engine.release(blocks, at: MonotonicTime.now()) }
            count(.redeemed, &state)
            state.after.append { decode(.object([("ok", .bool(true)), ("tokens", .integer(tokens))])) }
            return true
        }
        let settings = options.disaggregation
        let limit = answerWaits ? settings.bootstrapTimeout : settings.abortTimeout
        let deadline = state.deadlines.add(at: active.arrived + limit) { [weak self] state in
            self?.giveUp(key, &state)
        }
        state.finished[key] = FinishedPrefill(
            blocks: active.engineID,
            parked: answerWaits ? active.number : nil,
            deadline: deadline
        )
        if answerWaits {
            state.log.change(active.number) { $0.status = "parked" }
            count(.parked, &state)
        }
        return !answerWaits
    }

    private func giveUp(_ key: String, _ state: inout State) {
        guard let finished = state.finished.removeValue(forKey: key) else { return }
        state.meetings.prefillLeft(key)
        if let blocks = finished.blocks { state.engine.release(blocks, at: MonotonicTime.now()) }
        count(.expired, &state)
        guard let number = finished.parked else { return }
        count(.rendezvousTimeout, &state)
        let message = "The decode of this prefill did not come in time."
        reject(number, APIError(status: 500, type: "InternalServerError", message: message), &state)
    }
}
