internal import Bytes
internal import Pool

/// A leg that is under way beside its request's way. Dropping it ends it; who waits for its end (`whenEnded`) may keep it.
package final class CompanionLeg: Sendable {
    /// How it ended.
    struct Ending: Sendable {
        let verdict: LegVerdict
        let seconds: Double
        let speaksAgainstPair: Bool
    }

    private struct State: ~Copyable {
        var ending: Ending?
        var actions: [@Sendable () -> Void] = []
        /// Held while it is under way.
        var reservation: Reservation?
        var pass: BreakerPass?
        var task: Task<Void, Never>?
    }

    /// Without its body, which goes as soon as the transport needs it no more.
    let leg: LegRequest
    let startedAt: MonotonicTime
    private let state: Lock<State>

    /// Sends the leg.
    ///
    /// - Parameter settle: told how it ended, with the pass of the endpoint's breaker; says what that means. Not called for one that was
    ///   dropped before.
    init(
        _ leg: LegRequest,
        _ transport: any LegTransport,
        at now: MonotonicTime,
        reservation: consuming Reservation?,
        pass: consuming BreakerPass,
        settle: @escaping @Sendable (consuming BreakerPass, Result<LegAnswer, LegFailure>) -> Ending
    ) {
        var bare = leg
        bare.body = PiecedBytes()
        self.leg = bare
        startedAt = now
        state = Lock(State(reservation: reservation, pass: pass))
        // The task must not keep the companion alive: dropping that is what ends the task.
        let task = Task { [weak self] in
            let result = await transport.send(leg)
            self?.ended(result, settle)
        }
        state.withLock { if $0.ending == nil { $0.task = task } }
    }

    deinit {
        cancel()
    }

    /// How it ended; nil while it is under way.
    var ending: Ending? { state.withLock { $0.ending } }

    /// Calls `action` when it has ended, on any thread; at once when it has already.
    package func whenEnded(_ action: @escaping @Sendable () -> Void) {
        let hasEnded = state.withLock { state in
            if state.ending == nil { state.actions.append(action) }
            return state.ending != nil
        }
        if hasEnded { action() }
    }

    /// Waits for its end; nil when the waiting task was cancelled before.
    func end() async -> Ending? {
        let waiter = Waiter()
        whenEnded { waiter.resume() }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { waiter.wait($0) }
        } onCancel: {
            waiter.resume()
        }
        return ending
    }

    package func cancel() {
        state.withLock { $0.task.take() }?.cancel()
    }

    private func ended(
        _ result: Result<LegAnswer, LegFailure>,
        _ settle: (consuming BreakerPass, Result<LegAnswer, LegFailure>) -> Ending
    ) {
        guard let pass = state.withLock({ $0.pass.take() }) else { return }
        let ending = settle(pass, result)
        var reservation: Reservation?
        let actions = state.withLock { state in
            state.ending = ending
            state.task = nil
            reservation = state.reservation.take()
            return exchange(&state.actions, with: [])
        }
        if case .success = ending.verdict { reservation?.releaseTokens() }
        // The load is gone before anybody learns of the end.
        _ = consume reservation
        for action in actions { action() }
    }
}

/// A continuation that several may want to resume, once.
private final class Waiter: Sendable {
    private struct State {
        var isResumed = false
        var continuation: UnsafeContinuation<Void, Never>?
    }

    private let state = Lock(State())

    func wait(_ continuation: UnsafeContinuation<Void, Never>) {
        let isResumed = state.withLock { state in
            if !state.isResumed { state.continuation = continuation }
            return state.isResumed
        }
        if isResumed { continuation.resume() }
    }

    func resume() {
        state.withLock { state in
            state.isResumed = true
            return state.continuation.take()
        }?.resume()
    }
}
