internal import Admission
package import Bytes

/// A clock that stands still until a test moves it, and the alarm that goes with it.
package final class ManualAlarm: AdmissionAlarm {
    private struct State {
        var now: MonotonicTime
        var setFor: MonotonicTime?
        var ring: (@Sendable () -> Void)?
    }

    private let state: Lock<State>

    package init(now: MonotonicTime = MonotonicTime(nanoseconds: 1_000_000_000_000)) {
        state = Lock(State(now: now))
    }

    package var now: MonotonicTime { state.withLock { $0.now } }
    /// When it will ring; nil when it is not set.
    package var setFor: MonotonicTime? { state.withLock { $0.setFor } }

    package func set(_ time: MonotonicTime?, _ ring: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.setFor = time
            state.ring = time == nil ? nil : ring
        }
    }

    /// Moves the clock and rings as often as it was set to in that time.
    package func advance(by duration: Duration) {
        let end = now + duration
        while let ring = takeRing(until: end) { ring() }
        state.withLock { $0.now = max($0.now, end) }
    }

    private func takeRing(until end: MonotonicTime) -> (@Sendable () -> Void)? {
        state.withLock { state in
            guard let time = state.setFor, time <= end else { return nil }
            state.now = max(state.now, time)
            state.setFor = nil
            return state.ring.take()
        }
    }
}
