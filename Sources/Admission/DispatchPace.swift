internal import Bytes

/// How fast the queue moves, for telling refused clients when to come again.
struct DispatchPace {
    private var latest: MonotonicTime?
    /// Mean seconds between two dispatches, each new one weighing a tenth.
    private var interval = 0.0

    mutating func dispatched(at now: MonotonicTime) {
        if let latest { interval += (min(now.seconds(since: latest), 60) - interval) / 10 }
        latest = now
    }

    /// Whole seconds, 1...60.
    func secondsToDrain(_ count: Int) -> Int {
        Int(min(max((Double(count) * interval).rounded(.up), 1), 60))
    }
}
