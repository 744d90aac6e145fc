package import Bytes
package import Pool

/// `endpoint-attribute-filter`: the endpoints one of whose numbers compares well with a threshold.
package struct EndpointAttributeFilter: Filter {
    package enum Comparison: String, Sendable, CaseIterable {
        case lessThan = "LessThan"
        case lessThanOrEqual = "LessThanOrEqual"
        case greaterThan = "GreaterThan"
        case greaterThanOrEqual = "GreaterThanOrEqual"
        case equal = "Equal"
        case notEqual = "NotEqual"

        func holds(_ value: Double, _ threshold: Double) -> Bool {
            switch self {
            case .lessThan: value < threshold
            case .lessThanOrEqual: value <= threshold
            case .greaterThan: value > threshold
            case .greaterThanOrEqual: value >= threshold
            case .equal: value == threshold
            case .notEqual: value != threshold
            }
        }
    }

    package let attribute: EndpointAttribute
    package let comparison: Comparison
    package let threshold: Double
    /// Whether endpoints pass that have not told the number.
    package let passesMissing: Bool
    /// Whether everybody passes when nobody would.
    package let fallbackOnEmpty: Bool

    package init(
        attribute: EndpointAttribute,
        comparison: Comparison,
        threshold: Double,
        passesMissing: Bool = true,
        fallbackOnEmpty: Bool = false
    ) {
        self.attribute = attribute
        self.comparison = comparison
        self.threshold = threshold
        self.passesMissing = passesMissing
        self.fallbackOnEmpty = fallbackOnEmpty
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        let kept = candidates.filtered { position in
            guard let value = attribute.value(at: position, of: candidates, isLimited: true) else {
                return passesMissing
            }
            return comparison.holds(value, threshold)
        }
        return kept.isEmpty && fallbackOnEmpty ? candidates : kept
    }
}
