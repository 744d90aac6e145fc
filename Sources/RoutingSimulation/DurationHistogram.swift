private import Glibc

/// Counts of durations in buckets of 2 % each: quantiles of millions of values, within 1 %.
package struct DurationHistogram: Sendable {
    private static let lowest = 1e-5
    private static let growth = log(1.02)
    private static let bucketCount = 1_024

    private var counts = [Int](repeating: 0, count: bucketCount)
    package private(set) var count = 0

    package init() {}

    /// - Parameter seconds: what is below 10 µs counts as that.
    package mutating func add(_ seconds: Double, count: Int = 1) {
        let bucket = seconds > Self.lowest ? Int(log(seconds / Self.lowest) / Self.growth) : 0
        counts[min(bucket, Self.bucketCount - 1)] += count
        self.count += count
    }

    package mutating func add(_ other: DurationHistogram) {
        for bucket in counts.indices { counts[bucket] += other.counts[bucket] }
        count += other.count
    }

    /// The duration below which `share` of the values lie, in seconds; 0 without any.
    package func quantile(_ share: Double) -> Double {
        guard count > 0 else { return 0 }
        var rest = Int(share * Double(count - 1))
        for bucket in counts.indices {
            rest -= counts[bucket]
            if rest < 0 { return Self.lowest * exp((Double(bucket) + 0.5) * Self.growth) }
        }
        return 0
    }
}
