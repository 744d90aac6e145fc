package import Bytes

/// `random-picker`: any candidate, each with the same chance; scores play no part.
package struct RandomPicker: Picker {
    package let maxNumOfEndpoints: Int

    /// - Parameter maxNumOfEndpoints: how many to name, as places to fall back to; below 1 is 1.
    package init(maxNumOfEndpoints: Int = 1) {
        self.maxNumOfEndpoints = max(1, maxNumOfEndpoints)
    }

    package func pick(_ totals: [Float], using generator: inout SeededGenerator) -> [Int] {
        if maxNumOfEndpoints == 1 { return totals.indices.randomElement(using: &generator).map { [$0] } ?? [] }
        return Array(totals.indices.shuffled(using: &generator).prefix(maxNumOfEndpoints))
    }
}
