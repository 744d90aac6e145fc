internal import Admission
internal import Configuration

/// How requests are let in.
extension SetupAssembler {
    /// - Parameter readsMetrics: whether there will be any metrics to judge endpoints by.
    mutating func admission(readsMetrics: Bool) -> AdmissionSettings {
        var settings = AdmissionSettings(detector: saturationDetector())
        let isEnabled = configuration.isEnabled("flowControl")
        let section = configuration.flowControl
        var flowControl = FlowControlSettings()
        if let section {
            flowControl.maxRequests = limit(section.maxRequests)
            flowControl.maxBytes = limit(section.maxBytes)
            if let time = section.defaultRequestTTL { flowControl.requestTTL = time == .zero ? nil : time }
            if let time = section.noEndpointRequestTTL ?? section.defaultRequestTTL {
                flowControl.noEndpointTTL = time == .zero ? nil : time
            }
            flowControl.defaultBand = band(section.defaultPriorityBand, else: BandSettings())
            flowControl.defaultNegativeBand = section.defaultNegativePriorityBand.map {
                band($0, else: BandSettings())
            }
            for band in section.priorityBands {
                flowControl.bands[band.priority] = self.band(band, else: BandSettings())
            }
            if let reference = section.usageLimitPolicy { flowControl.usageLimit = usageLimit(reference) }
            flowControl.evictsDispatched = section.enablesEviction
        }
        if isEnabled { settings.flowControl = flowControl }
        reportIdlePolicies(isEnabled)
        if isEnabled, !readsMetrics, settings.detector.stalenessThreshold != nil {
            diagnostics.error(
                "flow control would let nothing in: its detector needs metrics, and dataLayer reads none",
                at: configuration.featureGates.last { $0.name == "flowControl" }?.position ?? .start
            )
        }
        return settings
    }

    /// 0 stands for no limit.
    private func limit(_ count: Int?) -> Int? {
        count.flatMap { $0 == 0 ? nil : $0 }
    }

    private mutating func band(
        _ band: EndpointPickerConfiguration.FlowControl.Band?,
        else settings: BandSettings
    ) -> BandSettings {
        var settings = settings
        guard let band else { return settings }
        if let count = limit(band.maxRequests) { settings.maxRequests = count }
        if let bytes = limit(band.maxBytes) { settings.maxBytes = bytes }
        if let reference = band.fairnessPolicy {
            used.insert(reference.name)
            switch instances[reference.name] ?? PluginRegistry.make(.init(type: reference.name), diagnostics) {
            case .fairness(let policy): settings.fairness = policy
            case .unusable: break
            case let other: report(reference, other, "a fairness policy")
            }
        }
        if let reference = band.orderingPolicy {
            used.insert(reference.name)
            switch instances[reference.name] ?? PluginRegistry.make(.init(type: reference.name), diagnostics) {
            case .ordering(let policy): settings.ordering = policy
            case .unusable: break
            case let other: report(reference, other, "an ordering policy")
            }
        }
        return settings
    }

    private mutating func usageLimit(_ reference: EndpointPickerConfiguration.Reference) -> any UsageLimitPolicy {
        used.insert(reference.name)
        switch instances[reference.name] ?? PluginRegistry.make(.init(type: reference.name), diagnostics) {
        case .usageLimit(let policy): return policy
        case .unusable: break
        case let other: report(reference, other, "a usage limit policy")
        }
        return StaticUsageLimitPolicy()
    }

    /// The one that is referred to, or else the only one there is.
    private mutating func saturationDetector() -> any SaturationDetector {
        if let reference = configuration.saturationDetector {
            used.insert(reference.name)
            switch instances[reference.name] ?? PluginRegistry.make(.init(type: reference.name), diagnostics) {
            case .saturationDetector(let detector): return detector
            case .unusable: break
            case let other: report(reference, other, "a saturation detector")
            }
            return UtilizationDetector()
        }
        var found: (any SaturationDetector)?
        for plugin in configuration.plugins {
            // One that a profile filters with need not be the one that counts.
            guard case .saturationDetector(let detector)? = instances[plugin.name], !used.contains(plugin.name) else {
                continue
            }
            used.insert(plugin.name)
            if found != nil {
                diagnostics.error(
                    "several saturation detectors: say in flowControl.saturationDetector which counts",
                    at: plugin.position
                )
            }
            found = detector
        }
        return found ?? UtilizationDetector()
    }

    private func report(
        _ reference: EndpointPickerConfiguration.Reference,
        _ instance: PluginInstance,
        _ expected: String
    ) {
        diagnostics.error("\(quoted(reference.name)) is \(instance.kind), not \(expected)", at: reference.position)
    }

    /// Without its gate, policies that are declared and not referred to have no effect, and `flowControl` was warned of already.
    private mutating func reportIdlePolicies(_ isEnabled: Bool) {
        for plugin in configuration.plugins where !used.contains(plugin.name) {
            switch instances[plugin.name] {
            case .ordering, .fairness, .usageLimit:
                used.insert(plugin.name)
                diagnostics.warning(
                    isEnabled
                        ? "no part of flowControl refers to \(quoted(plugin.name))"
                        : "\(quoted(plugin.name)) has no effect without the feature gate \"flowControl\"",
                    at: plugin.position
                )
            default: continue
            }
        }
    }
}
