internal import Bytes
internal import Pool

/// Makes the pages of all scraping threads visible together, so that the cost of a snapshot does not grow with the threads.
final class SnapshotPublishing: Sendable {
    /// Pages that arrive within this time become visible together.
    private static let interval: Duration = .milliseconds(2)

    private struct State {
        /// When somebody will publish.
        var claimed: MonotonicTime?
        var publishedAt = MonotonicTime(nanoseconds: 0)
    }

    let pool: Pool
    private let state = Lock(State())

    init(pool: Pool) {
        self.pool = pool
    }

    /// When the caller has to publish what it has just recorded; nil when somebody else will.
    func claim() -> MonotonicTime? {
        state.withLock { state in
            let now = MonotonicTime.now()
            // Whoever is late has a busy thread, which must not hold up what others found.
            if let claimed = state.claimed, now < claimed + Self.interval { return nil }
            let time = max(now, state.publishedAt + Self.interval)
            state.claimed = time
            return time
        }
    }

    /// Does what was claimed.
    func publish() {
        // First, so that what is recorded from now on is not taken for published.
        state.withLock { $0 = State(claimed: nil, publishedAt: .now()) }
        pool.publish()
    }
}
