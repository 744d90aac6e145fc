internal import Bytes
internal import Pool

/// Counts how often one endpoint is picked on the same state of the pool: what a picker does that follows stale metrics in a herd.
final class HerdingIndex: Sendable {
    private struct State {
        var snapshot: Snapshot?
        /// The state before: a decision that began on it may end after the first on the next.
        var previous: Snapshot?
        var picks: [Int: Int] = [:]
    }

    private let state = Lock(State())

    init() {}

    /// Counts a pick. The first on a new state of the pool returns the largest count of the state before.
    func picked(_ endpoint: Endpoint, on snapshot: Snapshot) -> Int? {
        state.withLock { state in
            var most: Int?
            if state.snapshot !== snapshot, state.previous !== snapshot {
                most = state.picks.values.max()
                state.picks.removeAll(keepingCapacity: true)
                state.previous = state.snapshot
                state.snapshot = snapshot
            }
            state.picks[endpoint.number, default: 0] += 1
            return most
        }
    }
}
