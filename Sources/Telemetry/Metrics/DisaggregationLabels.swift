/// Which stages of a request got endpoints of their own.
struct DisaggregationLabels: MetricLabels {
    let model: String
    let decision: String
    let plugin: PluginLabels

    init(model: String, decision: String, plugin: PluginLabels) {
        self.model = model.asLabelValue
        self.decision = decision
        self.plugin = plugin
    }

    static var overflow: DisaggregationLabels {
        DisaggregationLabels(model: otherLabelValue, decision: otherLabelValue, plugin: .overflow)
    }

    func coarsened(step: Int) -> DisaggregationLabels? {
        step == 1 ? DisaggregationLabels(model: otherLabelValue, decision: decision, plugin: plugin) : nil
    }

    static var own: [Exposure<DisaggregationLabels>.Label] {
        [.init("model_name") { $0.model }, .init("decision_type") { $0.decision }]
    }

    static var all: [Exposure<DisaggregationLabels>.Label] {
        own + [.init("plugin_name") { $0.plugin.name }, .init("plugin_type") { $0.plugin.type }]
    }
}

extension Telemetry {
    /// A disaggregating configuration decided: whether the prompt and its images are worked on before the endpoint that decodes.
    package func disaggregated(model: String, encode: Bool, prefill: Bool, plugin: PluginLabels) {
        let decision =
            switch (encode, prefill) {
            case (false, false): "decode-only"
            case (false, true): "prefill-decode"
            case (true, false): "encode-decode"
            case (true, true): "encode-prefill-decode"
            }
        metrics.disaggregations.child(DisaggregationLabels(model: model, decision: decision, plugin: plugin)).add()
        let ofPrefill = DisaggregationLabels(
            model: model,
            decision: prefill ? "prefill-decode" : "decode-only",
            plugin: plugin
        )
        metrics.prefillDecisions.child(ofPrefill).add()
    }
}
