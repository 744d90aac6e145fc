package import Bytes
private import Glibc

/// `weighted-random-picker`: candidates by chance in proportion to their totals; with totals of 0 for all, each with the same chance.
///
/// Sampling without replacement as in A-Res (Efraimidis and Spirakis): each candidate draws `u^(1/total)`, u from 0 to 1, and the highest win. A total
/// of 0 or less draws 0: such a candidate comes after all others.
package struct WeightedRandomPicker: Picker {
    package let maxNumOfEndpoints: Int

    /// - Parameter maxNumOfEndpoints: how many to name, as places to fall back to; below 1 is 1.
    package init(maxNumOfEndpoints: Int = 1) {
        self.maxNumOfEndpoints = max(1, maxNumOfEndpoints)
    }

    package func pick(_ totals: [Float], using generator: inout SeededGenerator) -> [Int] {
        guard totals.contains(where: { $0 > 0 }) else {
            return RandomPicker(maxNumOfEndpoints: maxNumOfEndpoints).pick(totals, using: &generator)
        }
        // The logarithm of the draw orders in the same way, and does not drown in zeros when totals are small.
        let draws = totals.map { total -> (key: Double, tie: UInt64) in
            let uniform = Double.random(in: Double.leastNonzeroMagnitude..<1, using: &generator)
            return (total > 0 ? log(uniform) / Double(total) : -.infinity, generator.next())
        }
        if maxNumOfEndpoints == 1 { return draws.indices.max { draws[$0] < draws[$1] }.map { [$0] } ?? [] }
        return Array(draws.indices.sorted { draws[$0] > draws[$1] }.prefix(maxNumOfEndpoints))
    }
}
