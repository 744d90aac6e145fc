package import Pool

/// `endpoint-attribute-scorer`: one of the endpoints' numbers, brought to 0...1 over a range; 0 for endpoints that have not told it.
package struct EndpointAttributeScorer: Scorer {
    package let attribute: EndpointAttribute
    package let lowerIsBetter: Bool
    /// What is brought to 0...1, with what lies outside at its ends; nil for the range of the candidates' numbers, with 1 for all when they are
    /// equal.
    package let fixedRange: ClosedRange<Double>?

    package init(attribute: EndpointAttribute, lowerIsBetter: Bool, fixedRange: ClosedRange<Double>? = nil) {
        self.attribute = attribute
        self.lowerIsBetter = lowerIsBetter
        self.fixedRange = fixedRange
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        let values = candidates.list.indices.map { attribute.value(at: $0, of: candidates) }
        let known = values.compactMap { $0 }
        let lowest = fixedRange?.lowerBound ?? known.min() ?? 0
        let highest = fixedRange?.upperBound ?? known.max() ?? 0
        for position in scores.indices {
            guard let value = values[position] else { continue }
            guard highest > lowest else {
                scores[position] = 1
                continue
            }
            let share = min(1, max(0, (value - lowest) / (highest - lowest)))
            scores[position] = Float(lowerIsBetter ? 1 - share : share)
        }
    }
}
