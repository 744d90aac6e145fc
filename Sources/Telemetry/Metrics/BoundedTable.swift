/// Values by labels, with a bound.
///
/// Labels for which there is no room are made coarser step by step, and each step has room of its own: what one label's many values use up
/// is not missing to the others. So the names that clients invent in one header do not take the models off all metrics.
struct BoundedTable<Labels: MetricLabels, Value> {
    /// The largest number of values of one step.
    private let limit: Int
    /// How many values each step has made.
    private var counts: [Int] = [0]
    private(set) var values: [Labels: Value] = [:]

    init(limit: Int) {
        self.limit = limit
    }

    /// The value of `labels`, made on first use, or that of the finest labels there is room for; `Labels.overflow` always has room.
    mutating func value(of labels: Labels, make: (Labels) -> Value) -> Value {
        var current: Labels? = labels
        var step = 0
        while let candidate = current {
            if let known = values[candidate] { return known }
            if step == counts.count { counts.append(0) }
            if counts[step] < limit {
                counts[step] += 1
                return add(candidate, make)
            }
            step += 1
            current = labels.coarsened(step: step)
        }
        return values[Labels.overflow] ?? add(Labels.overflow, make)
    }

    private mutating func add(_ labels: Labels, _ make: (Labels) -> Value) -> Value {
        let value = make(labels)
        values[labels] = value
        return value
    }
}
