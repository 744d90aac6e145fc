/// One use of a plugin: what it did, and which it was.
struct PluginTimeLabels: MetricLabels {
    let use: PluginUse?
    let type: String
    let name: String

    init(use: PluginUse?, type: String, name: String) {
        self.use = use
        self.type = type.asLabelValue
        self.name = name.asLabelValue
    }

    static var overflow: PluginTimeLabels { PluginTimeLabels(use: nil, type: otherLabelValue, name: otherLabelValue) }

    static var all: [Exposure<PluginTimeLabels>.Label] {
        [
            .init("extension_point") { $0.use?.rawValue ?? otherLabelValue },
            .init("plugin_type") { $0.type },
            .init("plugin_name") { $0.name },
        ]
    }
}

/// What a plugin does in a profile, as `extension_point` calls it.
package enum PluginUse: String, Sendable {
    case filter = "Filter"
    case scorer = "Scorer"
    case picker = "Picker"
}

extension Telemetry {
    /// A plugin did its part of a decision that was measured.
    package func pluginWorked(_ use: PluginUse, type: String, name: String, nanoseconds: UInt64) {
        let labels = PluginTimeLabels(use: use, type: type, name: name)
        metrics.pluginTime.child(labels).observe(nanoseconds: nanoseconds)
    }
}
