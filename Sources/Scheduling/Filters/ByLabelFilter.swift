package import Bytes
package import Pool

/// `by-label` (deprecated): the endpoints whose label has one of some values.
package struct ByLabelFilter: Filter {
    package let label: String
    package let validValues: Set<String>
    /// Whether endpoints without the label are kept, too.
    package let allowsNoLabel: Bool

    package init(label: String, validValues: Set<String>, allowsNoLabel: Bool = false) {
        self.label = label
        self.validValues = validValues
        self.allowsNoLabel = allowsNoLabel
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        candidates.filtered { candidates.endpoint($0).labels[label].map(validValues.contains) ?? allowsNoLabel }
    }
}
