internal import Configuration
internal import Discovery
internal import Inference
internal import Scheduling

/// What is wired beside the scheduler.
extension SetupAssembler {
    mutating func metrics() -> SchedulingSetup.MetricsSettings? {
        var metrics = SchedulingSetup.MetricsSettings()
        var isConfigured = false
        for source in configuration.dataLayer?.sources ?? [] {
            used.insert(source.plugin.name)
            used.formUnion(source.extractors.map(\.name))
            switch instances[source.plugin.name] {
            case .metricsSource(let settings):
                if isConfigured {
                    diagnostics.error("only one metrics-data-source is allowed", at: source.plugin.position)
                }
                isConfigured = true
                metrics.source = settings
                metrics.extractor = extractor(of: source)
            case .unusable, nil: continue
            case .some(let other):
                diagnostics.error(
                    "\(quoted(source.plugin.name)) is \(other.kind), not a data source",
                    at: source.plugin.position
                )
            }
        }
        if isConfigured { return metrics }
        // The older version has no way to say so; who only names a discovery did not mean to do without metrics.
        if let layer = configuration.dataLayer,
            !layer.injectDefaults || (configuration.apiVersion != .llmd && !layer.sources.isEmpty)
        {
            warnOfUnreadMetrics()
            return nil
        }
        for plugin in configuration.plugins {
            switch instances[plugin.name] {
            case .metricsSource(let settings): metrics.source = settings
            case .metricsExtractor(let settings): metrics.extractor = settings
            default: continue
            }
            used.insert(plugin.name)
        }
        return metrics
    }

    private static let metricsReaders: Set<String> = [
        "queue-scorer", "running-requests-size-scorer", "kv-cache-utilization-scorer", "lora-affinity-scorer",
        "load-aware-scorer", "endpoint-attribute-filter", "endpoint-attribute-scorer",
    ]

    private func warnOfUnreadMetrics() {
        for plugin in configuration.plugins where Self.metricsReaders.contains(plugin.type) {
            diagnostics.warning(
                "\(quoted(plugin.name)) decides by metrics, and dataLayer reads none",
                at: plugin.position
            )
        }
    }

    private func extractor(of source: EndpointPickerConfiguration.DataLayer.Source) -> MetricsExtractorSettings {
        var found: MetricsExtractorSettings?
        for reference in source.extractors {
            switch instances[reference.name] {
            case .metricsExtractor(let settings):
                if found != nil {
                    diagnostics.error("only one core-metrics-extractor is allowed", at: reference.position)
                }
                found = settings
            case .unusable, nil: continue
            case .some(let other):
                diagnostics.error(
                    "\(quoted(reference.name)) is \(other.kind), not an extractor",
                    at: reference.position
                )
            }
        }
        if source.extractors.isEmpty {
            diagnostics.warning(
                "\(quoted(source.plugin.name)) has no extractors; the core-metrics-extractor is used",
                at: source.plugin.position
            )
        }
        return found ?? MetricsExtractorSettings()
    }

    /// The discovery that is referred to, or else the only one there is.
    mutating func discovery() -> DiscoverySettings? {
        if let reference = configuration.dataLayer?.discovery {
            used.insert(reference.name)
            switch instances[reference.name] {
            case .discovery(let settings): return settings
            case .unusable, nil: return nil
            case .some(let other):
                diagnostics.error("\(quoted(reference.name)) is \(other.kind), not a discovery", at: reference.position)
                return nil
            }
        }
        var found: DiscoverySettings?
        for plugin in configuration.plugins {
            guard case .discovery(let settings)? = instances[plugin.name] else { continue }
            used.insert(plugin.name)
            if found != nil {
                diagnostics.error(
                    "several discoveries: say in dataLayer.discovery which counts",
                    at: plugin.position
                )
            }
            found = settings
        }
        return found
    }

    // MARK: Requests

    /// What the plugins beside the profiles, and those in them, want of every request.
    mutating func policies(_ profiles: [SchedulingProfile]) -> RequestPolicies {
        var policies = RequestPolicies()
        // A plugin in several profiles learns of a decision once.
        var inProfiles: [String: any CandidatePolicy] = [:]
        for profile in profiles {
            for filter in profile.filters { inProfiles[filter.name] = filter.filter }
            for scorer in profile.scorers { inProfiles[scorer.name] = scorer.scorer }
        }
        for name in inProfiles.keys.sorted() {
            if let observer = inProfiles[name]?.observer { policies.observers.append(observer) }
            guard let token = inProfiles[name]?.sessionToken else { continue }
            if !policies.sessionTokens.contains(where: { $0.header == token.header }) {
                policies.sessionTokens.append(token)
            }
        }
        var hasInFlightLoad = false
        for plugin in configuration.plugins {
            switch instances[plugin.name] {
            case .inFlightLoad(let settings):
                used.insert(plugin.name)
                if hasInFlightLoad {
                    diagnostics.error("only one inflight-load-producer is allowed", at: plugin.position)
                }
                hasInFlightLoad = true
                policies.inFlightLoad = settings
            case .servedVerifier:
                used.insert(plugin.name)
                policies.reportsServedEndpoint = true
            default: continue
            }
        }
        return policies
    }

    mutating func tokens() -> TokenProducerSettings {
        var found: TokenProducerSettings?
        for plugin in configuration.plugins {
            guard case .tokenProducer(let settings)? = instances[plugin.name] else { continue }
            used.insert(plugin.name)
            if found != nil { diagnostics.error("only one token-producer is allowed", at: plugin.position) }
            found = settings
        }
        return found ?? TokenProducerSettings()
    }

    mutating func parsers() -> [String] {
        var parsers: [String] = []
        for reference in configuration.parsers {
            used.insert(reference.name)
            switch instances[reference.name] {
            case .parser:
                let type = configuration.plugins.first { $0.name == reference.name }?.type ?? reference.name
                if !parsers.contains(type) { parsers.append(type) }
            case .unusable, nil: continue
            case .some(let other):
                diagnostics.error("\(quoted(reference.name)) is \(other.kind), not a parser", at: reference.position)
            }
        }
        return parsers.isEmpty ? ParserSelection.defaultTypes : parsers
    }

    func reportUnused() {
        for plugin in configuration.plugins where !used.contains(plugin.name) {
            switch instances[plugin.name] {
            case .unusable, .builtIn, nil: continue
            default: diagnostics.warning("plugin \(quoted(plugin.name)) is not used", at: plugin.position)
            }
        }
    }
}
