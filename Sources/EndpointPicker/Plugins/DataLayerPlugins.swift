internal import Configuration
internal import Discovery
internal import Scheduling
internal import Scraping

extension PluginRegistry {
    static let dataLayerPlugins: [String: Factory] = [
        "metrics-data-source": { parameters in
            var settings = MetricsSourceSettings()
            settings.scheme = parameters.string("scheme", oneOf: ["http", "https"])
            settings.insecureSkipVerify = parameters.bool("insecureSkipVerify")
            if let path = parameters.string("path") {
                settings.path = path
                if !path.hasPrefix("/") || path.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) {
                    parameters.diagnostics.error(
                        "parameter \"path\" must begin with / and have no spaces",
                        at: parameters.position(of: "path")
                    )
                }
            }
            return .metricsSource(settings)
        },
        "core-metrics-extractor": { parameters in
            var settings = MetricsExtractorSettings()
            settings.engineLabelKey = parameters.string("engineLabelKey") ?? settings.engineLabelKey
            settings.engines = engines(&parameters)
            let names = Set(EngineDialects.builtIn.keys).union(settings.engines.keys).sorted()
            settings.defaultEngine = parameters.string("defaultEngine", oneOf: names) ?? settings.defaultEngine
            return .metricsExtractor(settings)
        },
        "topology-extractor": { parameters in
            var labels = Topology.Labels()
            labels.host = parameters.nonEmptyString("hostnameLabel") ?? labels.host
            labels.rack = parameters.nonEmptyString("rackLabel") ?? labels.rack
            labels.zone = parameters.nonEmptyString("zoneLabel") ?? labels.zone
            labels.region = parameters.nonEmptyString("regionLabel") ?? labels.region
            return .topologyExtractor(labels)
        },
        "file-discovery": { parameters in
            let path = parameters.string("path")
            let watchFile = parameters.bool("watchFile") ?? false
            guard let path, !path.isEmpty else {
                parameters.reportMissing("path")
                return nil
            }
            return .discovery(.file(FileDiscoverySettings(path: path, watchFile: watchFile)))
        },
        "dns-discovery": { parameters in
            DNSDiscoverySettings(parameters: &parameters).map { .discovery(.dns($0)) }
        },
    ]
}
