internal import Configuration
internal import Scheduling

extension PluginRegistry {
    static let deciderPlugins: [String: Factory] = [
        "always-disagg-pd-decider": { _ in .decider(AlwaysDisaggregateDecider()) },
        "always-disagg-multimodal-decider": { _ in .decider(MultimodalDecider()) },
        "prefix-based-pd-decider": { parameters in
            let uncached = parameters.integer("nonCachedTokens", in: 0...1 << 40) ?? 0
            let prompt = parameters.integer("promptTokens", in: 0...1 << 40) ?? 0
            if uncached == 0 {
                parameters.diagnostics.warning(
                    "nonCachedTokens is 0: this decider never wants a prefill endpoint",
                    at: parameters.position(of: "nonCachedTokens")
                )
            }
            let producer = parameters.string("prefixMatchInfoProducerName")
            let position = parameters.position(of: "prefixMatchInfoProducerName")
            return .needsOthers { lookup in
                lookup.checkPrefixProducer(producer, at: position)
                return .decider(PrefixBasedDecider(nonCachedTokens: uncached, promptTokens: prompt))
            }
        },
    ]
}
