internal import Bytes
private import Glibc

extension SeededGenerator {
    /// From 0 to 1, neither of them.
    mutating func uniform() -> Double {
        (Double(next() >> 11) + 0.5) / Double(1 << 53)
    }

    /// A variable of this mean whose logarithm falls off evenly.
    mutating func exponential(mean: Double) -> Double {
        -log(uniform()) * mean
    }

    /// A log-normal variable with this median; `spread` is the deviation of its logarithm. At most eight times the median.
    mutating func logNormal(median: Double, spread: Double) -> Double {
        let normal = sqrt(-2 * log(uniform())) * cos(2 * .pi * uniform())
        return min(8, exp(spread * normal)) * median
    }
}

/// The times of arrivals that have nothing to do with each other.
struct PoissonArrivals {
    private var generator: SeededGenerator
    private(set) var time = 0.0

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        _ = generator.next()
    }

    /// - Parameter rate: per second, from the arrival before to this one.
    mutating func next(rate: Double) -> Double {
        time += generator.exponential(mean: 1 / rate)
        return time
    }
}
