internal import Bytes
internal import Pool

/// Makes the pages of all scraping threads visible together, so that the cost of a snapshot does not grow with the threads.
final class SnapshotPublishing: Sendable {
    /// Pages that arrive within this time become visible together.
    private static let interval: Duration = .milliseconds(2)

    private struct State {
        var isClaimed = false
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
            guard !state.isClaimed else { return nil }
            state.isClaimed = true
            return max(.now(), state.publishedAt + Self.interval)
        }
    }

    /// Does what was claimed.
    func publish() {
        // First, so that what is recorded from now on is not taken for published.
        state.withLock { $0 = State(isClaimed: false, publishedAt: .now()) }
        pool.publish()
    }
}
