internal import Configuration
internal import Scheduling

extension PluginRegistry {
    static let scorerPlugins: [String: Factory] = [
        "queue-scorer": { _ in .scorer(QueueScorer()) },
        "running-requests-size-scorer": { _ in .scorer(RunningRequestsSizeScorer()) },
        "kv-cache-utilization-scorer": { _ in .scorer(KVCacheUtilizationScorer()) },
        "lora-affinity-scorer": { _ in .scorer(LoRAAffinityScorer()) },
        "token-load-scorer": { parameters in
            let threshold = parameters.integer("queueThresholdTokens", in: 1...Int(Int32.max))
            let scorer = TokenLoadScorer(
                queueThresholdTokens: threshold ?? TokenLoadScorer.defaultQueueThresholdTokens
            )
            return readingInFlightLoad(&parameters, .scorer(scorer))
        },
        "prefix-cache-scorer": { parameters in
            let weight = parameters.number("matchLengthWeight", in: 0...1) ?? 0
            let scale =
                parameters.integer("matchLengthScaleTokens", in: 1...Int(Int32.max))
                ?? PrefixCacheScorer.defaultMatchLengthScaleTokens
            let producer = parameters.string("prefixMatchInfoProducerName")
            let (settings, hasSettings) = prefixCacheSettings(&parameters)
            return .prefixCacheScorer(
                PrefixCacheScorer(matchLengthWeight: Float(weight), matchLengthScaleTokens: scale),
                PrefixCacheDemand(
                    settings: settings,
                    hasSettings: hasSettings,
                    producer: producer,
                    producerPosition: parameters.position(of: "prefixMatchInfoProducerName")
                )
            )
        },
        "prefill-cost-scorer": { parameters in
            var weights = PrefillCostScorer.Weights()
            weights.requestTokens = parameters.integer("requestTokens", in: 0...1 << 20) ?? weights.requestTokens
            weights.memoryWeight = parameters.number("memoryWeight", in: 0...1_000) ?? weights.memoryWeight
            weights.homeWeight = parameters.number("homeWeight", in: 0...1_000) ?? weights.homeWeight
            weights.scaleTokens = parameters.integer("scaleTokens", in: 1...1 << 20) ?? weights.scaleTokens
            return .scorer(PrefillCostScorer(weights))
        },
        "load-aware-scorer": { parameters in
            let threshold = parameters.integer("threshold", in: 1...Int(Int32.max))
            return .scorer(LoadAwareScorer(threshold: threshold ?? LoadAwareScorer.defaultThreshold))
        },
        "active-request-scorer": { parameters in
            let idle = parameters.integer("idleThreshold", in: 0...Int(Int32.max)) ?? 0
            let busy = parameters.number("maxBusyScore", in: 0...1) ?? 1
            warnWithoutEffect("requestTimeout", &parameters)
            let scorer = ActiveRequestScorer(idleThreshold: idle, maxBusyScore: Float(busy))
            return readingInFlightLoad(&parameters, .scorer(scorer))
        },
        "no-hit-lru-scorer": { parameters in
            let size = parameters.integer("lruSize", in: 1...1 << 20) ?? NoHitLRUScorer.defaultSize
            warnWithoutEffect("prefixPluginType", &parameters)
            warnWithoutEffect("prefixPluginName", &parameters)
            let producer = parameters.string("prefixMatchInfoProducerName")
            let position = parameters.position(of: "prefixMatchInfoProducerName")
            let scorer = NoHitLRUScorer(lruSize: size)
            return .needsOthers { lookup in
                lookup.checkPrefixProducer(producer, at: position)
                return .scorer(scorer)
            }
        },
        "context-length-aware": { parameters in
            let policy = ContextLengthAware(
                label: parameters.nonEmptyString("label") ?? ContextLengthAware.defaultLabel,
                enableFiltering: parameters.bool("enableFiltering") ?? false
            )
            return policy.enableFiltering ? .filterAndScorer(policy, policy) : .scorer(policy)
        },
        "header-label-affinity-scorer": { parameters in
            let header = parameters.nonEmptyString("headerName")
            let label = parameters.nonEmptyString("labelKey")
            parameters.reportMissing("headerName")
            parameters.reportMissing("labelKey")
            guard let header, let label else { return nil }
            return .scorer(HeaderLabelAffinityScorer(headerName: header, labelKey: label))
        },
        "endpoint-attribute-scorer": { endpointAttributeScorer(&$0).map { .scorer($0) } },
        "topology-affinity-scorer": { parameters in
            readingTopology(&parameters) { .scorer(TopologyAffinityScorer(peerHeader: $0, labels: $1)) }
        },
    ]

    private static func endpointAttributeScorer(_ parameters: inout Fields) -> EndpointAttributeScorer? {
        let attribute = endpointAttribute("attributeKey", &parameters)
        warnWithoutEffect("producer", &parameters, "attributes are read from the endpoints' metrics")
        let algorithm = parameters.mapping("algorithm")
        parameters.reportMissing("algorithm")
        guard var algorithm else { return nil }
        let type = algorithm.string("type", oneOf: ["linear_lower_is_better", "linear_higher_is_better"])
        algorithm.reportMissing("type")
        var range: ClosedRange<Double>?
        var isComplete = true
        if var normalization = algorithm.mapping("normalization") {
            if var fixed = normalization.mapping("fixedRange") {
                let lower = fixed.number("min", in: -1e15...1e15) ?? 0
                let upper = fixed.number("max", in: -1e15...1e15) ?? 0
                fixed.finish()
                if lower < upper {
                    range = lower...upper
                } else {
                    fixed.diagnostics.error("key \"min\" must be less than \"max\"", at: fixed.position)
                    isComplete = false
                }
            }
            // An empty mapping chooses it, so null, which reads as absent, need not.
            if let adaptive = normalization.mapping("adaptiveRange") {
                adaptive.finish()
                if range != nil {
                    normalization.diagnostics.error(
                        "only one of \"fixedRange\" and \"adaptiveRange\" may be given",
                        at: normalization.keyPosition(of: "adaptiveRange")
                    )
                }
            }
            normalization.finish()
        }
        algorithm.finish()
        guard let attribute, let type, isComplete else { return nil }
        return EndpointAttributeScorer(
            attribute: attribute,
            lowerIsBetter: type == "linear_lower_is_better",
            fixedRange: range
        )
    }
}
