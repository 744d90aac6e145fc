package import Configuration

/// Which model is asked in place of the one that a client names. A value: whoever learns of other rules replaces the table as a whole.
package struct ModelRewriteTable: Sendable {
    /// What became of one request.
    package struct Decision: Sendable, Equatable {
        /// The name of the rewrite whose rule it was.
        package var rewrite: String
        package var target: String
    }

    /// As they were given.
    package let rewrites: [InferenceModelRewrite]
    private let exact: [String: WeightedTargets]
    private let general: WeightedTargets?

    /// - Parameter rewrites: the one that comes first wins over those after it, as do its rules among each other; but a rule for certain models
    ///   wins over one for all.
    package init(_ rewrites: [InferenceModelRewrite] = []) {
        self.rewrites = rewrites
        var exact: [String: WeightedTargets] = [:]
        var general: WeightedTargets?
        for rewrite in rewrites {
            for rule in rewrite.rules where !rule.targets.isEmpty {
                let targets = WeightedTargets(rewrite: rewrite.name, rule.targets)
                if rule.models.isEmpty {
                    general = general ?? targets
                } else {
                    for model in rule.models where exact[model] == nil { exact[model] = targets }
                }
            }
        }
        self.exact = exact
        self.general = general
    }

    /// The model to ask for a request that names `model`; nil when no rule is for it.
    package func decision(for model: String, using generator: inout some RandomNumberGenerator) -> Decision? {
        guard let targets = exact[model] ?? general else { return nil }
        return Decision(rewrite: targets.rewrite, target: targets.pick(using: &generator))
    }
}

/// The targets of a rule, never empty.
private struct WeightedTargets: Sendable {
    let rewrite: String
    private let models: [String]
    /// Where the share of each target ends.
    private let ends: [Int]

    init(rewrite: String, _ targets: [InferenceModelRewrite.Target]) {
        self.rewrite = rewrite
        models = targets.map(\.model)
        // Without any weight all are equally likely.
        let isWeighted = targets.contains { $0.weight > 0 }
        var end = 0
        ends = targets.map { target in
            end += isWeighted ? max(0, target.weight) : 1
            return end
        }
    }

    func pick(using generator: inout some RandomNumberGenerator) -> String {
        guard models.count > 1, let total = ends.last else { return models[0] }
        let drawn = Int.random(in: 0..<total, using: &generator)
        return models[ends.firstIndex { drawn < $0 } ?? 0]
    }
}
