package import Bytes

/// `max-score-picker`: the highest totals; equals in random order.
package struct MaxScorePicker: Picker {
    package let maxNumOfEndpoints: Int

    /// - Parameter maxNumOfEndpoints: how many to name, as places to fall back to; below 1 is 1.
    package init(maxNumOfEndpoints: Int = 1) {
        self.maxNumOfEndpoints = max(1, maxNumOfEndpoints)
    }

    package func pick(_ totals: [Float], using generator: inout SeededGenerator) -> [Int] {
        if maxNumOfEndpoints == 1 { return best(of: totals, using: &generator).map { [$0] } ?? [] }
        let order = totals.indices.shuffled(using: &generator).enumerated().sorted { left, right in
            let (a, b) = (totals[left.element], totals[right.element])
            return a != b ? a > b : left.offset < right.offset
        }
        return order.prefix(maxNumOfEndpoints).map(\.element)
    }

    /// The position of the highest total, each of equals with the same chance.
    private func best(of totals: [Float], using generator: inout SeededGenerator) -> Int? {
        guard var highest = totals.first else { return nil }
        var first = 0
        var ties = 0
        for position in totals.indices {
            if totals[position] > highest {
                highest = totals[position]
                first = position
                ties = 1
            } else if totals[position] == highest {
                ties += 1
            }
        }
        guard ties > 1 else { return first }
        var chosen = Int.random(in: 0..<ties, using: &generator)
        for position in first..<totals.count where totals[position] == highest {
            if chosen == 0 { return position }
            chosen -= 1
        }
        return first
    }
}
