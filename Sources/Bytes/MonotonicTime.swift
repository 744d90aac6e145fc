private import Glibc

/// A point on the machine's monotonic clock, in nanoseconds. Virtual time uses the same type, so nothing that takes one reads a clock.
package struct MonotonicTime: Comparable, Hashable, Sendable {
    package let nanoseconds: UInt64

    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The monotonic clock now. Only programs and the parts with threads of their own call this.
    package static func now() -> MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    package static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    package static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let sum = Int64(clamping: time.nanoseconds) + duration.nanoseconds
        return MonotonicTime(nanoseconds: UInt64(clamping: sum))
    }

    /// The time from `earlier` to this point; zero when `earlier` is later.
    package func elapsed(since earlier: MonotonicTime) -> Duration {
        .nanoseconds(nanoseconds >= earlier.nanoseconds ? Int64(clamping: nanoseconds - earlier.nanoseconds) : 0)
    }

    /// `elapsed(since:)` in seconds.
    package func seconds(since earlier: MonotonicTime) -> Double {
        nanoseconds >= earlier.nanoseconds ? Double(nanoseconds - earlier.nanoseconds) / 1e9 : 0
    }
}

extension Duration {
    /// Whole nanoseconds, clamped to what fits 62 bits (146 years).
    package var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let bounded = min(max(seconds, -4_000_000_000), 4_000_000_000)
        return bounded * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    package var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
