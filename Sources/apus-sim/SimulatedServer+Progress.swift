import Bytes
import EngineSimulation
import HTTPServer

/// What the engine does becomes answers, metrics and log.
extension SimulatedServer {
    /// What the timekeeper calls when the server is due.
    func advance() {
        update { pump(&$0, to: MonotonicTime.now()) }
    }

    /// Brings the engine to the present, hands out what it did, and does what is due.
    func pump(_ state: inout State, to now: MonotonicTime) {
        for event in state.engine.advance(to: now) { handle(event, &state) }
        expire(&state, at: now)
        for action in state.deadlines.takeDue(now) { action(&state) }
        state.page = nil
        schedule(&state)
    }

    /// Tells the timekeeper when to look again.
    func schedule(_ state: inout State) {
        let times = [state.engine.nextEventTime, state.ledger.nextExpiry, state.deadlines.next]
        timekeeper.schedule(index, at: times.compactMap { $0 }.min())
    }

    /// Frees what leases held that have ended.
    func expire(_ state: inout State, at time: MonotonicTime) {
        for (key, blocks) in state.ledger.expire(at: time) {
            state.given[key] = nil
            state.engine.release(blocks, at: MonotonicTime.now())
            count(.expired, &state)
        }
    }

    private func handle(_ event: EngineEvent, _ state: inout State) {
        guard let number = state.numbers[event.id], var active = state.active.removeValue(forKey: number) else {
            return
        }
        switch event.kind {
        case .started(let cachedTokens):
            active.usage.cachedTokens = cachedTokens
            state.log.change(number) { $0.cachedTokens = cachedTokens }
            state.metrics.observe(.iterationTokens, Double(active.usage.promptTokens - cachedTokens))
        case .firstToken:
            state.metrics.observe(.timeToFirstToken, event.time.seconds(since: active.arrived))
            transferred(&active, &state)
            write(active.format.beginning(usage: active.usage), &active)
            token(&active)
        case .token(let gap):
            state.metrics.observe(.interTokenLatency, gap.seconds)
            state.metrics.observe(.iterationTokens, Double(state.engine.runningCount))
            token(&active)
        case .finished(let reason, let record):
            state.numbers[event.id] = nil
            state.log.change(number) { $0.externalTokens = record.externalTokens }
            finish(&active, reason, record, &state)
            return
        }
        if breakStream(&active, &state) { return }
        state.active[number] = active
    }

    private func token(_ active: inout ActiveRequest) {
        let index = active.usage.completionTokens
        active.usage.completionTokens += 1
        guard case .stream = active.sink else { return }
        let reason = index + 1 == active.tokens.count ? active.reason.rawValue : nil
        write(active.format.piece(active.tokens[index], reason: reason), &active)
    }

    func write(_ text: String, _ active: inout ActiveRequest) {
        guard case .stream(let stream) = active.sink, !text.isEmpty else { return }
        active.answerBytes += text.utf8.count
        if active.holdsStream { active.held += text } else { stream.write(text.utf8) }
    }

    private func finish(
        _ active: inout ActiveRequest,
        _ reason: EngineFinishReason,
        _ record: EngineRequestRecord,
        _ state: inout State
    ) {
        let usage = active.usage
        state.metrics.finished(record, maxTokens: active.maxTokens)
        state.log.change(active.number) { entry in
            entry.finishReason = reason.rawValue
            entry.completionTokens = usage.completionTokens
        }
        if case .store = active.plan.action { storage.put(state.engine.promptBlocks(of: active.engineRequest)) }
        let handOff = handOff(active, &state)
        var mayAnswer = true
        if case .announce(let key, let answerWaits) = active.plan.action {
            mayAnswer = meet(key, active, answerWaits: answerWaits, &state)
        }
        active.engineID = nil
        let text: String
        switch active.sink {
        case .stream:
            write(active.format.end(active.text, reason: reason.rawValue, usage: usage), &active)
            text = active.held
        case .whole:
            text =
                active.request.api == .embeddings
                ? active.format.embeddings(embeddings(active.request), usage: usage)
                : active.format.whole(active.tokens, reason: reason.rawValue, usage: usage, handOff: handOff)
            active.answerBytes = text.utf8.count
        }
        state.metrics.answered(active, seconds: record.ended.seconds(since: record.arrived))
        if mayAnswer {
            give(text, active, &state)
        } else {
            active.parkedAnswer = text
            state.active[active.number] = active
        }
    }

    /// Notes that an answer is complete.
    func answered(_ active: ActiveRequest, _ state: inout State) {
        state.deadlines.cancel(active.deadline)
        state.log.change(active.number) { entry in
            entry.status = "finished"
            entry.httpStatus = 200
            entry.bytes = active.answerBytes
            entry.ended = WallClock.seconds
        }
        count(.answered, &state)
    }

    /// Answers 200 without having generated anything.
    func answerWithoutTokens(_ number: Int, reason: String, _ state: inout State) {
        guard var active = state.active.removeValue(forKey: number) else { return }
        release(active, &state)
        state.log.change(number) { $0.finishReason = reason }
        switch active.sink {
        case .whole:
            let text = active.format.whole([], reason: reason, usage: active.usage, handOff: HandOff())
            active.answerBytes = text.utf8.count
            give(text, active, &state)
        case .stream:
            if active.usage.completionTokens == 0 {
                write(active.format.beginning(usage: active.usage), &active)
            }
            write(active.format.piece(Tokenizer.Token(number: 0, text: ""), reason: reason), &active)
            write(active.format.end("", reason: reason, usage: active.usage), &active)
            give(active.held, active, &state)
        }
    }

    /// One vector for each text, the same for the same text.
    private func embeddings(_ request: GenerationRequest) -> [[Double]] {
        request.prompts.map { tokens in
            let seed = tokens.reduce(UInt64(1)) { ($0 ^ UInt64($1)) &* 0x9E37_79B9_7F4A_7C15 }
            var random = SeededGenerator(seed: seed)
            return (0..<(request.dimensions ?? options.defaultEmbeddingDimensions)).map { _ in
                (Double.random(in: -1..<1, using: &random) * 1e6).rounded() / 1e6
            }
        }
    }
}
