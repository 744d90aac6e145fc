import Synchronization

/// One child of a metric family: something that is changed by many threads and read by the renderer.
package protocol Instrument: AnyObject, Sendable {
    /// What the renderer reads at one moment.
    associatedtype Reading: Sendable
    /// What every child of one family has in common, such as bucket bounds.
    associatedtype Layout: Sendable

    init(layout: Layout)
    func read() -> Reading
    /// The reading of two children that one exposed name does not tell apart.
    static func merged(_ a: Reading, _ b: Reading) -> Reading
    /// Whether a reading says nothing, so that a labelled series of it need not be told.
    static func isSilent(_ reading: Reading) -> Bool
}

extension Instrument {
    package static func isSilent(_ reading: Reading) -> Bool { false }
}

/// A number that only grows.
package final class Counter: Instrument {
    private let count = Atomic<UInt64>(0)

    package init(layout: Void = ()) {}

    package func add(_ amount: Int = 1) {
        count.wrappingAdd(UInt64(clamping: amount), ordering: .relaxed)
    }

    package func read() -> UInt64 { count.load(ordering: .relaxed) }
    package static func merged(_ a: UInt64, _ b: UInt64) -> UInt64 { a &+ b }
}

/// A whole number that goes up and down.
package final class Gauge: Instrument {
    private let level = Atomic<Int>(0)

    package init(layout: Void = ()) {}

    package func add(_ amount: Int) { level.wrappingAdd(amount, ordering: .relaxed) }
    package func set(_ value: Int) { level.store(value, ordering: .relaxed) }
    package func read() -> Int { level.load(ordering: .relaxed) }
    package static func merged(_ a: Int, _ b: Int) -> Int { a &+ b }
}

/// Counts of observations by upper bound. Observing takes no lock: one relaxed addition to a bucket, one
/// compare-and-exchange for the sum.
package final class Histogram: Instrument {
    /// At most this many bounds; the slot behind the last one counts what is larger than all of them.
    package static let maximumBounds = 39

    package struct Reading: Sendable {
        package var buckets: [UInt64]
        package var sum: Double
        /// The total of the buckets as they were read, so that `_count` and the `+Inf` bucket always agree.
        package var count: UInt64 { buckets.reduce(0, &+) }
    }

    /// A histogram that observed nothing takes as many lines as one that did: with a thousand models that would be most of the page.
    package static func isSilent(_ reading: Reading) -> Bool { reading.count == 0 }

    private let bounds: [Double]
    private let buckets: InlineArray<40, Atomic<UInt64>>
    private let sum = Atomic<Double>(0)

    package init(layout: [Double]) {
        precondition(layout.count <= Self.maximumBounds, "a histogram has at most \(Self.maximumBounds) bounds")
        bounds = layout
        buckets = InlineArray { _ in Atomic(0) }
    }

    /// Counts `value` in the first bucket whose bound is not below it. Not a number: ignored.
    package func observe(_ value: Double) {
        guard !value.isNaN else { return }
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if bounds[middle] < value { low = middle + 1 } else { high = middle }
        }
        buckets[low].wrappingAdd(1, ordering: .relaxed)
        var current = sum.load(ordering: .relaxed)
        while true {
            let (exchanged, original) = sum.weakCompareExchange(
                expected: current,
                desired: current + value,
                ordering: .relaxed
            )
            if exchanged { return }
            current = original
        }
    }

    /// Observes a time of `nanoseconds` in seconds.
    package func observe(nanoseconds: UInt64) {
        observe(Double(nanoseconds) / 1e9)
    }

    package func read() -> Reading {
        Reading(
            buckets: (0...bounds.count).map { buckets[$0].load(ordering: .relaxed) },
            sum: sum.load(ordering: .relaxed)
        )
    }

    package static func merged(_ a: Reading, _ b: Reading) -> Reading {
        Reading(buckets: zip(a.buckets, b.buckets).map(&+), sum: a.sum + b.sum)
    }
}
