internal import Bytes
internal import Pool

/// A prefill that is under way while its decode is. Dropping it ends it.
package final class CompanionLeg: Sendable {
    private struct State: ~Copyable {
        var result: Result<LegAnswer, LegFailure>?
        var onEnd: (@Sendable () -> Void)?
        /// Held while it is under way.
        var reservation: Reservation?
        var pass: BreakerPass?
        var task: Task<Void, Never>?
    }

    package let leg: LegRequest
    private let state: Lock<State>

    /// Sends the leg.
    ///
    /// - Parameter settle: told how it ended, with the pass of the endpoint's breaker.
    init(
        _ leg: LegRequest,
        _ transport: any LegTransport,
        reservation: consuming Reservation?,
        pass: consuming BreakerPass,
        settle: @escaping @Sendable (consuming BreakerPass, Result<LegAnswer, LegFailure>) -> Void
    ) {
        self.leg = leg
        state = Lock(State(reservation: reservation, pass: pass))
        let task = Task { [weak self] in
            let result = await transport.send(leg)
            self?.ended(result, settle)
        }
        state.withLock { if $0.result == nil { $0.task = task } }
    }

    deinit {
        cancel()
    }

    /// How it ended; nil while it is under way.
    package var result: Result<LegAnswer, LegFailure>? { state.withLock { $0.result } }

    /// Calls `action` when it has ended, on any thread; at once when it has already. Only the latest action is called.
    package func whenEnded(_ action: @escaping @Sendable () -> Void) {
        let hasEnded = state.withLock { state in
            if state.result == nil { state.onEnd = action }
            return state.result != nil
        }
        if hasEnded { action() }
    }

    /// Waits for its end; nil when the waiting task was cancelled before.
    func end() async -> Result<LegAnswer, LegFailure>? {
        let waiter = Waiter()
        whenEnded { waiter.resume() }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { waiter.wait($0) }
        } onCancel: {
            waiter.resume()
        }
        return result
    }

    package func cancel() {
        state.withLock { $0.task.take() }?.cancel()
    }

    private func ended(
        _ result: Result<LegAnswer, LegFailure>,
        _ settle: (consuming BreakerPass, Result<LegAnswer, LegFailure>) -> Void
    ) {
        var pass: BreakerPass?
        var reservation: Reservation?
        let action = state.withLock { state in
            state.result = result
            state.task = nil
            pass = state.pass.take()
            reservation = state.reservation.take()
            return state.onEnd.take()
        }
        if let pass = pass.take() { settle(pass, result) }
        _ = consume reservation
        action?()
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
