internal import Bytes

/// Lets so many requests through per second, and a burst at once; whoever comes too early waits for its turn.
final class RequestPace: Sendable {
    private let interval: Duration
    private let burst: Int
    /// When the bucket is full again.
    private let fullAt: Lock<MonotonicTime>

    init(perSecond: Int, burst: Int) {
        interval = .seconds(1) / perSecond
        self.burst = burst
        fullAt = Lock(MonotonicTime(nanoseconds: 0))
    }

    /// How long the next request must wait, which counts from now on.
    func take(at now: MonotonicTime) -> Duration {
        fullAt.withLock { fullAt in
            fullAt = max(fullAt, now) + interval
            return max(.zero, fullAt.elapsed(since: now) - interval * burst)
        }
    }
}
