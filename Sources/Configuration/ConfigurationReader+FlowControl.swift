/// The section `flowControl`.
extension ConfigurationReader {
    /// Types of which there is an instance by the same name without the file saying so.
    private static let injected: Set<String> = [
        "fcfs-ordering-policy", "global-strict-fairness-policy", "static-usage-limit-policy", "utilization-detector",
    ]

    func flowControl(
        _ section: inout Fields,
        _ configuration: inout EndpointPickerConfiguration,
        _ names: Set<String>
    ) -> EndpointPickerConfiguration.FlowControl {
        var flowControl = EndpointPickerConfiguration.FlowControl()
        let names = names.union(Self.injected)
        flowControl.maxRequests = section.quantity("maxRequests")
        flowControl.maxBytes = section.quantity("maxBytes")
        let times: ClosedRange<Duration> = .zero ... .seconds(100 * 86_400)
        flowControl.defaultRequestTTL = section.duration("defaultRequestTTL", in: times)
        flowControl.noEndpointRequestTTL = section.duration("noEndpointRequestTTL", in: times)
        flowControl.defaultPriorityBand = section.node("defaultPriorityBand").map { band($0, names, isTemplate: true) }
        flowControl.defaultNegativePriorityBand = section.node("defaultNegativePriorityBand").map {
            band($0, names, isTemplate: true)
        }
        flowControl.priorityBands = bands(section.list("priorityBands", limit: Self.listLimit), names)
        flowControl.usageLimitPolicy = policy(&section, "usageLimitPolicyPluginRef", names)
        flowControl.enablesEviction = section.bool("enableEviction") ?? false
        if let node = section.node("saturationDetector"), let detector = reference(in: node, names) {
            if configuration.saturationDetector != nil {
                diagnostics.error(
                    "there is a saturationDetector outside of flowControl, too: one is enough",
                    at: section.keyPosition(of: "saturationDetector")
                )
            }
            configuration.saturationDetector = detector
        }
        section.unavailable("bandSelectionPolicyPluginRef")
        section.finish()
        return flowControl
    }

    private func bands(_ nodes: [YAMLNode], _ names: Set<String>) -> [EndpointPickerConfiguration.FlowControl.Band] {
        var bands: [EndpointPickerConfiguration.FlowControl.Band] = []
        var lines: [Int: Int] = [:]
        for node in nodes {
            let band = band(node, names, isTemplate: false)
            if let line = lines[band.priority] {
                diagnostics.error(
                    "there is a band of priority \(band.priority) already, on line \(line)",
                    at: node.position
                )
                continue
            }
            lines[band.priority] = node.position.line
            bands.append(band)
        }
        return bands
    }

    /// - Parameter isTemplate: whether it stands for many priorities, so that its own means nothing.
    private func band(
        _ node: YAMLNode,
        _ names: Set<String>,
        isTemplate: Bool
    ) -> EndpointPickerConfiguration.FlowControl.Band {
        var fields = Fields(node, diagnostics)
        var band = EndpointPickerConfiguration.FlowControl.Band()
        let priority = fields.integer("priority", in: Int(Int32.min)...Int(Int32.max))
        if isTemplate, priority != nil {
            diagnostics.warning("the priority of a default band means nothing", at: fields.position(of: "priority"))
        } else if !isTemplate {
            fields.reportMissing("priority")
        }
        band.priority = priority ?? 0
        band.maxRequests = fields.quantity("maxRequests")
        band.maxBytes = fields.quantity("maxBytes")
        band.fairnessPolicy = policy(&fields, "fairnessPolicyRef", names)
        band.orderingPolicy = policy(&fields, "orderingPolicyRef", names)
        fields.finish()
        return band
    }

    /// A member whose value is the name of a plugin.
    private func policy(
        _ fields: inout Fields,
        _ key: String,
        _ names: Set<String>
    ) -> EndpointPickerConfiguration.Reference? {
        guard let name = fields.string(key), !name.isEmpty else { return nil }
        let position = fields.position(of: key)
        guard names.contains(name) else {
            let hint = diagnostics.isFull ? "" : ClosestName.hint(for: name, among: names.sorted())
            diagnostics.error("no plugin is named \(quoted(name))\(hint)", at: position)
            return nil
        }
        return EndpointPickerConfiguration.Reference(name, at: position)
    }
}
