internal import Bytes

/// Takes the times between laps; without a clock it does nothing.
struct Stopwatch {
    private let clock: (@Sendable () -> MonotonicTime)?
    private var latest: UInt64
    /// Nanoseconds.
    private(set) var laps: [UInt64] = []

    init(_ clock: (@Sendable () -> MonotonicTime)?) {
        self.clock = clock
        latest = clock?().nanoseconds ?? 0
    }

    @inline(__always)
    mutating func lap() {
        if let clock { add(clock().nanoseconds) }
    }

    private mutating func add(_ now: UInt64) {
        laps.append(now >= latest ? now - latest : 0)
        latest = now
    }
}
