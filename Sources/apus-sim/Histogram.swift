/// A histogram as Prometheus tells it: each bucket counts what is at most its bound.
struct Histogram: Sendable {
    let bounds: [Double]
    /// One more than there are bounds: the last counts everything.
    private(set) var cumulative: [Int]
    private(set) var sum = 0.0

    var count: Int { cumulative.last ?? 0 }

    init(bounds: [Double]) {
        self.bounds = bounds
        cumulative = [Int](repeating: 0, count: bounds.count + 1)
    }

    mutating func observe(_ value: Double) {
        sum += value
        for index in cumulative.indices.reversed() {
            guard index == bounds.count || value <= bounds[index] else { return }
            cumulative[index] += 1
        }
    }
}
