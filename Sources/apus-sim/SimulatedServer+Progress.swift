import Bytes
import EngineSimulation
import HTTPServer
import Synchronization

/// What the engine does becomes answers, metrics and log.
extension SimulatedServer {
    /// What the timekeeper calls when the engine is due.
    func advance() {
        state.withLock { pump(&$0, to: MonotonicTime.now()) }
    }

    /// Brings the engine to the present and hands out what it did.
    func pump(_ state: inout State, to now: MonotonicTime) {
        for event in state.engine.advance(to: now) { handle(event, &state) }
        state.page = nil
        timekeeper.schedule(index, at: state.engine.nextEventTime)
    }

    private func handle(_ event: EngineEvent, _ state: inout State) {
        guard var active = state.active.removeValue(forKey: event.id) else { return }
        switch event.kind {
        case .started(let cachedTokens):
            active.usage.cachedTokens = cachedTokens
            state.log.change(active.logNumber) { $0.cachedTokens = cachedTokens }
            state.metrics.observe(.iterationTokens, Double(active.usage.promptTokens - cachedTokens))
        case .firstToken:
            state.metrics.observe(.timeToFirstToken, event.time.seconds(since: active.arrived))
            write(active.format.beginning(usage: active.usage), &active)
            token(&active)
        case .token(let gap):
            state.metrics.observe(.interTokenLatency, gap.seconds)
            state.metrics.observe(.iterationTokens, Double(state.engine.runningCount))
            token(&active)
        case .finished(let reason, let record):
            finish(&active, reason, record, &state)
            return
        }
        if let cut = state.live.faults.cutAfterTokens, active.usage.completionTokens >= cut,
            case .stream(let stream) = active.sink
        {
            stream.cut()
            state.engine.abort(event.id, at: event.time)
            state.log.change(active.logNumber) { entry in
                entry.status = "cut"
                entry.completionTokens = active.usage.completionTokens
            }
            return
        }
        state.active[event.id] = active
    }

    private func token(_ active: inout ActiveRequest) {
        let index = active.usage.completionTokens
        active.usage.completionTokens += 1
        guard case .stream = active.sink else { return }
        let reason = index + 1 == active.tokens.count ? active.reason.rawValue : nil
        write(active.format.piece(active.tokens[index].text, reason: reason), &active)
    }

    private func write(_ text: String, _ active: inout ActiveRequest) {
        guard case .stream(let stream) = active.sink, !text.isEmpty else { return }
        active.answerBytes += text.utf8.count
        stream.write(text.utf8)
    }

    private func finish(
        _ active: inout ActiveRequest,
        _ reason: EngineFinishReason,
        _ record: EngineRequestRecord,
        _ state: inout State
    ) {
        let usage = active.usage
        let request = active.request
        switch active.sink {
        case .stream(let stream):
            write(active.format.end(active.text, reason: reason.rawValue, usage: usage), &active)
            stream.finish()
        case .whole(let reply):
            let text =
                request.api == .embeddings
                ? active.format.embeddings(embeddings(request), usage: usage)
                : active.format.whole(active.text, reason: reason.rawValue, usage: usage)
            active.answerBytes = text.utf8.count
            reply.complete(json(text, headers: active.headers))
        }
        state.metrics.finished(record, maxTokens: active.maxTokens)
        state.metrics.answered(active, seconds: record.ended.seconds(since: record.arrived))
        state.log.change(active.logNumber) { entry in
            entry.status = "finished"
            entry.httpStatus = 200
            entry.finishReason = reason.rawValue
            entry.completionTokens = usage.completionTokens
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
