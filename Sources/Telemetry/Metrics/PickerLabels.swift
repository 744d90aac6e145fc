/// What every metric of a request is told apart by. Names that lack some of these labels show the sums.
package struct RequestLabels: MetricLabels {
    /// The model that the client asked for; "" when the request had none.
    package let model: String
    /// The model that the model server was asked for.
    package let targetModel: String
    package let fairnessID: String
    package let priority: Int
    private let isOverflow: Bool

    package init(model: String, targetModel: String, fairnessID: String, priority: Int) {
        self.init(
            model: model.asLabelValue,
            targetModel: targetModel.asLabelValue,
            fairnessID: fairnessID.asLabelValue,
            priority: priority,
            isOverflow: false
        )
    }

    private init(model: String, targetModel: String, fairnessID: String, priority: Int, isOverflow: Bool) {
        self.model = model
        self.targetModel = targetModel
        self.fairnessID = fairnessID
        self.priority = priority
        self.isOverflow = isOverflow
    }

    package static var overflow: RequestLabels {
        RequestLabels(
            model: otherLabelValue,
            targetModel: otherLabelValue,
            fairnessID: otherLabelValue,
            priority: 0,
            isOverflow: true
        )
    }

    /// Clients choose fairness ids freely: they are given up first, so that models keep their numbers.
    package func coarsened(step: Int) -> RequestLabels? {
        guard step == 1, !isOverflow else { return nil }
        return RequestLabels(model: model, targetModel: targetModel, fairnessID: otherLabelValue, priority: priority)
    }

    var priorityText: String { isOverflow ? otherLabelValue : String(priority) }

    static var model: [Exposure<RequestLabels>.Label] { [.init("model_name") { $0.model }] }
    static var models: [Exposure<RequestLabels>.Label] { model + [.init("target_model_name") { $0.targetModel }] }
    static var modelsAndPriority: [Exposure<RequestLabels>.Label] { models + [.init("priority") { $0.priorityText }] }
    static var all: [Exposure<RequestLabels>.Label] { modelsAndPriority + [.init("fairness_id") { $0.fairnessID }] }
    static var flow: [Exposure<RequestLabels>.Label] {
        [.init("priority") { $0.priorityText }, .init("fairness_id") { $0.fairnessID }]
    }
}

/// A request's labels and one more: an error code, or whether the response is streamed.
struct DetailedRequestLabels: MetricLabels {
    let request: RequestLabels
    let detail: String

    static var overflow: DetailedRequestLabels {
        DetailedRequestLabels(request: .overflow, detail: otherLabelValue)
    }

    func coarsened(step: Int) -> DetailedRequestLabels? {
        switch step {
        case 1: request.coarsened(step: 1).map { DetailedRequestLabels(request: $0, detail: detail) }
        case 2: DetailedRequestLabels(request: .overflow, detail: detail)
        default: nil
        }
    }

    static func lifted(_ labels: [Exposure<RequestLabels>.Label]) -> [Exposure<DetailedRequestLabels>.Label] {
        labels.map { label in .init(label.name) { label.value($0.request) } }
    }

    static func detail(_ name: String) -> [Exposure<DetailedRequestLabels>.Label] { [.init(name) { $0.detail }] }
}

/// The outcome of one scheduling decision and, when it succeeded, its endpoint.
struct AttemptLabels: MetricLabels {
    let success: Bool
    let targetModel: String
    let endpoint: String
    let namespace: String
    let port: String

    static var overflow: AttemptLabels {
        AttemptLabels(
            success: true,
            targetModel: otherLabelValue,
            endpoint: otherLabelValue,
            namespace: otherLabelValue,
            port: otherLabelValue
        )
    }

    func coarsened(step: Int) -> AttemptLabels? {
        guard step == 1 else { return nil }
        return AttemptLabels(
            success: success,
            targetModel: otherLabelValue,
            endpoint: endpoint,
            namespace: namespace,
            port: port
        )
    }

    static func exposed(endpointAs name: String) -> [Exposure<AttemptLabels>.Label] {
        [
            .init("status") { $0.success ? "success" : "failure" },
            .init("target_model_name") { $0.targetModel },
            .init(name) { $0.endpoint },
            .init("namespace") { $0.namespace },
            .init("port") { $0.port },
        ]
    }
}

/// The plugin that a metric belongs to.
package struct PluginLabels: MetricLabels {
    package let name: String
    package let type: String

    package init(name: String, type: String) {
        self.name = name
        self.type = type
    }

    package static var overflow: PluginLabels { PluginLabels(name: otherLabelValue, type: otherLabelValue) }
    static var all: [Exposure<PluginLabels>.Label] {
        [.init("plugin_name") { $0.name }, .init("plugin_type") { $0.type }]
    }
}

/// A single value from a small set: a status code, an outcome.
package struct OneLabel: MetricLabels {
    package let value: String

    package init(_ value: String) { self.value = value.asLabelValue }
    package static var overflow: OneLabel { OneLabel(otherLabelValue) }
    static func named(_ name: String) -> [Exposure<OneLabel>.Label] { [.init(name) { $0.value }] }
}
