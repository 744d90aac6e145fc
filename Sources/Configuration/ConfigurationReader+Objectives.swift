/// The sections `objectives` and `modelRewrites`, which say without Kubernetes what its resources say.
extension ConfigurationReader {
    private static let priorities = Int(Int32.min)...Int(Int32.max)
    private static let weights = 0...1_000_000

    func objectives(_ nodes: [YAMLNode]) -> [InferenceObjective] {
        var names: [String: Int] = [:]
        return nodes.compactMap { node in
            var fields = Fields(node, diagnostics)
            let name = uniqueName(&fields, node, &names, "an objective")
            let priority = fields.integer("priority", in: Self.priorities) ?? 0
            fields.finish()
            return name.map { InferenceObjective(name: $0, priority: priority) }
        }
    }

    func modelRewrites(_ nodes: [YAMLNode]) -> [InferenceModelRewrite] {
        var names: [String: Int] = [:]
        return nodes.compactMap { node in
            var fields = Fields(node, diagnostics)
            let name = uniqueName(&fields, node, &names, "a model rewrite")
            fields.reportMissing("rules")
            let rules = fields.list("rules", limit: Self.listLimit).compactMap { rule($0) }
            fields.finish()
            return name.map { InferenceModelRewrite(name: $0, rules: rules) }
        }
    }

    private func rule(_ node: YAMLNode) -> InferenceModelRewrite.Rule? {
        var fields = Fields(node, diagnostics)
        let models = fields.list("matches", limit: Self.listLimit).compactMap { match($0) }
        fields.reportMissing("targets")
        let nodes = fields.list("targets", limit: Self.listLimit)
        fields.finish()
        var targets: [InferenceModelRewrite.Target] = []
        var weighted = 0
        for node in nodes {
            var fields = Fields(node, diagnostics)
            let weight = fields.integer("weight", in: Self.weights)
            let model = fields.string("modelRewrite")
            fields.finish()
            fields.reportMissing("modelRewrite")
            if weight != nil { weighted += 1 }
            if let model, !model.isEmpty { targets.append(InferenceModelRewrite.Target(model, weight: weight ?? 0)) }
        }
        if nodes.isEmpty {
            diagnostics.error("a rule needs at least one target", at: node.position)
        } else if weighted > 0, weighted < nodes.count {
            diagnostics.error("either every target of a rule has a weight or none has", at: node.position)
        }
        return InferenceModelRewrite.Rule(models: models, targets: targets)
    }

    /// `{model: {type: Exact, value: NAME}}`
    private func match(_ node: YAMLNode) -> String? {
        var fields = Fields(node, diagnostics)
        fields.reportMissing("model")
        var model = fields.mapping("model")
        fields.finish()
        _ = model?.string("type", oneOf: ["Exact"])
        let value = model?.string("value")
        model?.reportMissing("value")
        model?.finish()
        return value.flatMap { $0.isEmpty ? nil : $0 }
    }

    private func uniqueName(
        _ fields: inout Fields,
        _ node: YAMLNode,
        _ names: inout [String: Int],
        _ kind: String
    ) -> String? {
        guard let name = fields.string("name"), !name.isEmpty else {
            fields.reportMissing("name")
            return nil
        }
        if let line = names[name] {
            diagnostics.error(
                "\(kind) named \(quoted(name)) exists already, on line \(line)",
                at: fields.position(of: "name")
            )
            return nil
        }
        names[name] = node.position.line
        return name
    }
}
