/// How urgent requests are that name it: what `InferenceObjective` says in Kubernetes.
package struct InferenceObjective: Sendable, Equatable {
    /// What the objective header of requests says.
    package var name: String
    /// Higher goes first; requests below 0 are dropped when the pool is full.
    package var priority: Int

    package init(name: String, priority: Int) {
        self.name = name
        self.priority = priority
    }
}

/// Which models are asked in place of those that clients name: what `InferenceModelRewrite` says in Kubernetes.
package struct InferenceModelRewrite: Sendable, Equatable {
    package struct Rule: Sendable, Equatable {
        /// The models of clients that it is for; none is for every model.
        package var models: [String]
        /// One of these is asked.
        package var targets: [Target]

        package init(models: [String] = [], targets: [Target]) {
            self.models = models
            self.targets = targets
        }
    }

    package struct Target: Sendable, Equatable {
        package var model: String
        /// The target's share, as a part of the sum of the rule's weights. Where that is 0, all are equally likely.
        package var weight: Int

        package init(_ model: String, weight: Int = 0) {
            self.model = model
            self.weight = weight
        }
    }

    package var name: String
    package var rules: [Rule]

    package init(name: String, rules: [Rule]) {
        self.name = name
        self.rules = rules
    }
}
