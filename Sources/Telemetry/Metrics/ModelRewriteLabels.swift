/// Which model was asked in place of which, and by whose rule.
struct ModelRewriteLabels: MetricLabels {
    let rewrite: String
    let model: String
    let target: String

    init(rewrite: String, model: String, target: String) {
        self.rewrite = rewrite.asLabelValue
        self.model = model.asLabelValue
        self.target = target.asLabelValue
    }

    static var overflow: ModelRewriteLabels {
        ModelRewriteLabels(rewrite: otherLabelValue, model: otherLabelValue, target: otherLabelValue)
    }

    static var all: [Exposure<ModelRewriteLabels>.Label] {
        [
            .init("model_rewrite_name") { $0.rewrite },
            .init("model_name") { $0.model },
            .init("target_model") { $0.target },
        ]
    }
}

extension Telemetry {
    /// A rule of the rewrite `rewrite` chose a request's model.
    package func rewritten(by rewrite: String, model: String, target: String) {
        metrics.modelRewrites.child(ModelRewriteLabels(rewrite: rewrite, model: model, target: target)).add()
    }
}
