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
            return .scorer(
                TokenLoadScorer(queueThresholdTokens: threshold ?? TokenLoadScorer.defaultQueueThresholdTokens)
            )
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
    ]
}
