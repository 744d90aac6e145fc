package import Bytes
package import Pool

/// `label-selector-filter`: the endpoints whose labels meet every requirement, as Kubernetes' label selectors have it.
package struct LabelSelectorFilter: Filter {
    package struct Requirement: Sendable, Equatable {
        package enum Operator: String, Sendable, CaseIterable {
            case `in` = "In"
            /// Also met by an endpoint without the label.
            case notIn = "NotIn"
            case exists = "Exists"
            case doesNotExist = "DoesNotExist"
        }

        package var key: String
        package var `operator`: Operator
        /// Of `in` and `notIn`.
        package var values: Set<String>

        package init(key: String, operator: Operator, values: Set<String> = []) {
            self.key = key
            self.operator = `operator`
            self.values = values
        }

        func isMet(by labels: [String: String]) -> Bool {
            switch `operator` {
            case .in: labels[key].map(values.contains) ?? false
            case .notIn: labels[key].map { !values.contains($0) } ?? true
            case .exists: labels[key] != nil
            case .doesNotExist: labels[key] == nil
            }
        }
    }

    /// None keeps everybody.
    package let requirements: [Requirement]

    package init(_ requirements: [Requirement]) {
        self.requirements = requirements
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        candidates.filtered { position in
            let labels = candidates.endpoint(position).labels
            return requirements.allSatisfy { $0.isMet(by: labels) }
        }
    }
}
