/// Which stages of a request got endpoints of their own.
struct DisaggregationLabels: MetricLabels {
    let model: String
    let decision: String

    init(model: String, decision: String) {
        self.model = model.asLabelValue
        self.decision = decision
    }

    static var overflow: DisaggregationLabels {
        DisaggregationLabels(model: otherLabelValue, decision: otherLabelValue)
    }

    static var own: [Exposure<DisaggregationLabels>.Label] {
        [.init("model_name") { $0.model }, .init("decision_type") { $0.decision }]
    }

    static var all: [Exposure<DisaggregationLabels>.Label] {
        let type = "disagg-profile-handler"
        return own + [.init("plugin_name") { _ in type }, .init("plugin_type") { _ in type }]
    }
}

extension Telemetry {
    /// A disaggregating configuration decided: whether the prompt and its images are worked on before the endpoint that decodes.
    package func disaggregated(model: String, encode: Bool, prefill: Bool) {
        let decision =
            switch (encode, prefill) {
            case (false, false): "decode-only"
            case (false, true): "prefill-decode"
            case (true, false): "encode-decode"
            case (true, true): "encode-prefill-decode"
            }
        metrics.disaggregations.child(DisaggregationLabels(model: model, decision: decision)).add()
    }
}
