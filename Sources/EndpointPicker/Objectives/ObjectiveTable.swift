package import Configuration

/// The priorities of objectives by name. A value: whoever learns of others replaces the table as a whole.
package struct ObjectiveTable: Sendable, Equatable {
    private let priorities: [String: Int]

    /// Of two objectives with one name the first counts.
    package init(_ objectives: [InferenceObjective] = []) {
        priorities = Dictionary(objectives.map { ($0.name, $0.priority) }) { first, _ in first }
    }

    /// The priority of an objective; 0 for one that is not known.
    package func priority(of name: String) -> Int {
        priorities[name] ?? 0
    }

    /// Sorted by name.
    package var objectives: [InferenceObjective] {
        priorities.map { InferenceObjective(name: $0.key, priority: $0.value) }.sorted { $0.name < $1.name }
    }
}
