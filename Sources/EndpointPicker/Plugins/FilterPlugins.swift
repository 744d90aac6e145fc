internal import Configuration
internal import Scheduling

extension PluginRegistry {
    static let filterPlugins: [String: Factory] = [
        "prefill-filter": { _ in .filter(RoleFilter(.prefill)) },
        "decode-filter": { _ in .filter(RoleFilter(.decode)) },
        "encode-filter": { _ in .filter(RoleFilter(.encode)) },
        "header-based-testing-filter": { _ in .filter(HeaderBasedTestingFilter()) },
        "label-selector-filter": { .filter(labelSelector(&$0)) },
        "by-label-selector": { .filter(labelSelector(&$0)) },
        "by-label": { parameters in
            let label = parameters.nonEmptyString("label")
            parameters.reportMissing("label")
            let values = Set(parameters.strings("validValues"))
            let allowsNoLabel = parameters.bool("allowsNoLabel") ?? false
            if values.isEmpty, !allowsNoLabel { parameters.reportMissing("validValues") }
            return label.map {
                .filter(ByLabelFilter(label: $0, validValues: values, allowsNoLabel: allowsNoLabel))
            }
        },
        "utilization-filter": { parameters in
            let filter = utilization(&parameters)
            let instance = readingInFlightLoad(&parameters, filter.map { .filter($0) } ?? .unusable)
            return filter == nil ? nil : instance
        },
        "endpoint-attribute-filter": { endpointAttributeFilter(&$0).map { .filter($0) } },
        "topology-affinity-filter": { parameters in
            let levels = Topology.Level.allCases.filter { $0 != .none }
            let name = parameters.string("minAffinity", oneOf: levels.map(\.name))
            let level = levels.first { $0.name == name } ?? .host
            return readingTopology(&parameters) {
                .filter(TopologyAffinityFilter(minAffinity: level, peerHeader: $0, labels: $1))
            }
        },
        "prefix-cache-affinity-filter": { prefixCacheAffinity(&$0) },
    ]

    private static func labelSelector(_ parameters: inout Fields) -> LabelSelectorFilter {
        var requirements = parameters.stringMap("matchLabels").sorted { $0.key < $1.key }.map {
            LabelSelectorFilter.Requirement(key: $0.key, operator: .in, values: [$0.value])
        }
        for node in parameters.list("matchExpressions", limit: 100) {
            var expression = Fields(node, parameters.diagnostics)
            let key = expression.string("key")
            let words = LabelSelectorFilter.Requirement.Operator.allCases.map(\.rawValue)
            let word = expression.string("operator", oneOf: words)
            let values = Set(expression.strings("values"))
            expression.reportMissing("key")
            expression.reportMissing("operator")
            expression.finish()
            guard let key, !key.isEmpty, let word,
                let comparison = LabelSelectorFilter.Requirement.Operator(rawValue: word)
            else { continue }
            let takesValues = comparison == .in || comparison == .notIn
            if takesValues == values.isEmpty {
                expression.diagnostics.error(
                    takesValues ? "\(word) needs values" : "\(word) takes no values",
                    at: expression.position(of: values.isEmpty ? "operator" : "values")
                )
            }
            requirements.append(.init(key: key, operator: comparison, values: values))
        }
        return LabelSelectorFilter(requirements)
    }

    private static func utilization(_ parameters: inout Fields) -> UtilizationFilter? {
        var conditions: [UtilizationFilter.Condition] = []
        for node in parameters.list("conditions", limit: 100) {
            var condition = Fields(node, parameters.diagnostics)
            let name = condition.string("metric", oneOf: UtilizationFilter.Metric.allCases.map(\.rawValue))
            let metric = name.flatMap { UtilizationFilter.Metric(rawValue: $0) }
            let limit = condition.number("maxValue", in: 0...(metric == .kvCacheUtilization ? 1 : 1e9))
            condition.reportMissing("metric")
            condition.reportMissing("maxValue")
            condition.finish()
            if let metric, let limit { conditions.append(.init(metric: metric, maxValue: limit)) }
        }
        let fallback = parameters.bool("fallbackOnEmpty") ?? false
        if parameters.node("conditions")?.elements?.isEmpty ?? true {
            parameters.reportMissing("conditions")
            if parameters.node("conditions")?.elements != nil {
                parameters.diagnostics.error(
                    "parameter \"conditions\" must not be empty",
                    at: parameters.position(of: "conditions")
                )
            }
            return nil
        }
        return UtilizationFilter(conditions: conditions, fallbackOnEmpty: fallback)
    }

    private static func endpointAttributeFilter(_ parameters: inout Fields) -> EndpointAttributeFilter? {
        let attribute = endpointAttribute("attribute", &parameters)
        let missing = parameters.string("onMissing", oneOf: ["Pass", "Fail"]) ?? "Pass"
        let fallback = parameters.bool("fallbackOnEmpty") ?? false
        warnWithoutEffect("producer", &parameters, "attributes are read from the endpoints' metrics")
        let algorithm = parameters.mapping("algorithm")
        parameters.reportMissing("algorithm")
        guard var algorithm else { return nil }
        _ = algorithm.string("type", oneOf: ["threshold"])
        var comparison: EndpointAttributeFilter.Comparison?
        var value: Double?
        if var threshold = algorithm.mapping("threshold") {
            let words = EndpointAttributeFilter.Comparison.allCases.map(\.rawValue)
            comparison = threshold.string("operator", oneOf: words).flatMap { .init(rawValue: $0) }
            value = threshold.number("value", in: -1e15...1e15)
            threshold.reportMissing("operator")
            threshold.finish()
        }
        algorithm.reportMissing("threshold")
        algorithm.finish()
        guard let attribute, let comparison else { return nil }
        return EndpointAttributeFilter(
            attribute: attribute,
            comparison: comparison,
            threshold: value ?? 0,
            passesMissing: missing == "Pass",
            fallbackOnEmpty: fallback
        )
    }

    private static func prefixCacheAffinity(_ parameters: inout Fields) -> PluginInstance {
        var settings = PrefixCacheAffinityFilter.Settings()
        settings.affinityThreshold = parameters.number("affinityThreshold", in: 0...1) ?? settings.affinityThreshold
        settings.explorationProbability =
            parameters.number("explorationProbability", in: 0...1) ?? settings.explorationProbability
        settings.maxTTFTPenaltyMs = parameters.number("maxTTFTPenaltyMs", in: 0...1e12) ?? settings.maxTTFTPenaltyMs
        settings.peakPrefillThroughput =
            parameters.number("peakPrefillThroughput", in: 1e-3...1e12) ?? settings.peakPrefillThroughput
        let source = parameters.string("ttftSource", oneOf: ["prefillThroughput", "latencyPredictor"])
        if source == "latencyPredictor" {
            parameters.diagnostics.error(
                "ttftSource \"latencyPredictor\" is not available yet in this version",
                at: parameters.position(of: "ttftSource")
            )
        }
        parameters.unavailable("latencyPredictionInfoProducerName")
        let prefixes = parameters.string("prefixMatchInfoProducerName")
        let prefixesPosition = parameters.position(of: "prefixMatchInfoProducerName")
        let load = parameters.string("inFlightLoadProducerName")
        let loadPosition = parameters.position(of: "inFlightLoadProducerName")
        return .needsOthers { [settings] lookup in
            lookup.checkPrefixProducer(prefixes, at: prefixesPosition)
            lookup.checkInFlightProducer(load, at: loadPosition)
            return .filter(PrefixCacheAffinityFilter(settings))
        }
    }
}
