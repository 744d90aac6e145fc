package import Configuration

/// The API groups of objectives and rewrites: llm-d's first, which counts where both have one of a name.
enum ObjectiveGroup {
    static let all = ["llm-d.ai", "inference.networking.x-k8s.io"]
    static let version = "v1alpha2"
}

/// An `InferenceObjective`.
package struct InferenceObjectiveObject: KubernetesObject {
    package let metadata: ObjectMetadata
    package let pools: PoolReferences
    package let objective: InferenceObjective

    package init?(_ metadata: ObjectMetadata, _ object: KubernetesObjectBody) {
        self.metadata = metadata
        pools = PoolReferences(object.spec)
        objective = InferenceObjective(name: metadata.name, priority: object.spec?["priority"]?.integer ?? 0)
    }
}

/// An `InferenceModelRewrite`.
package struct InferenceModelRewriteObject: KubernetesObject {
    package let metadata: ObjectMetadata
    package let pools: PoolReferences
    package let rewrite: InferenceModelRewrite

    package init?(_ metadata: ObjectMetadata, _ object: KubernetesObjectBody) {
        self.metadata = metadata
        pools = PoolReferences(object.spec)
        let rules = object.spec?["rules"]?.elements.compactMap { Self.rule($0) } ?? []
        rewrite = InferenceModelRewrite(name: metadata.name, rules: rules)
    }

    /// Nil for a rule without targets, and for one that matches in ways that are not known: it must not become one for every model.
    private static func rule(_ node: JSONNode) -> InferenceModelRewrite.Rule? {
        let members = node.members("matches", "targets")
        let matches = members[0]?.elements ?? []
        let models = matches.compactMap { match -> String? in
            guard let model = match["model"]?.members("type", "value") else { return nil }
            return model[0]?.string ?? "Exact" == "Exact" ? model[1]?.string : nil
        }
        let targets = members[1]?.elements.compactMap { target -> InferenceModelRewrite.Target? in
            let members = target.members("modelRewrite", "weight")
            guard let model = members[0]?.string, !model.isEmpty else { return nil }
            return InferenceModelRewrite.Target(model, weight: min(max(0, members[1]?.integer ?? 0), 1_000_000))
        }
        guard let targets, !targets.isEmpty, matches.isEmpty || !models.isEmpty else { return nil }
        return InferenceModelRewrite.Rule(models: models, targets: targets)
    }
}
