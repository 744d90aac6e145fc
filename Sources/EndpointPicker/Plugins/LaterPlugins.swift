extension PluginRegistry {
    /// Types of the reference pickers that this version does not make. A configuration that names one is refused with words that tell it
    /// from a misspelt one.
    static let laterTypes: Set<String> = [
        // Filters
        "label-selector-filter", "by-label", "by-label-selector", "prefill-filter", "decode-filter", "encode-filter",
        "session-affinity-filter", "utilization-filter", "endpoint-attribute-filter", "topology-affinity-filter",
        "prefix-cache-affinity-filter", "slo-headroom-tier-filter", "header-based-testing-filter",
        "disaggregatedset-rollout-screener", "multicluster-session-affinity-filter",
        // Scorers
        "load-aware-scorer", "active-request-scorer", "session-affinity-scorer", "no-hit-lru-scorer",
        "context-length-aware", "header-label-affinity-scorer", "endpoint-attribute-scorer", "topology-affinity-scorer",
        "precise-prefix-cache-scorer", "mm-embeddings-cache-scorer", "latency-scorer", "predicted-latency-scorer",
        // Pickers and profile handlers
        "random-picker", "weighted-random-picker", "disagg-profile-handler", "pd-profile-handler",
        "disagg-headers-handler", "prefill-header-handler", "data-parallel-profile-handler", "header-profile-handler",
        // Deciders
        "prefix-based-pd-decider", "always-disagg-pd-decider", "always-disagg-multimodal-decider",
        // Data producers and admission
        "precise-prefix-cache-producer", "burst-prefix-cache-producer", "p2p-source-producer",
        "mm-embeddings-cache-producer", "session-id-producer", "predicted-latency-producer", "agent-identity",
        "latency-slo-admitter", "probabilistic-admitter",
        // Flow control
        "program-aware-fairness", "priority-holdback-policy", "soft-reflective-ceiling-policy",
        // Data layer
        "k8s-notification-source", "endpoint-notification-source", "dns-discovery",
        // Parsers and responses
        "sglanghttp-parser", "vertexai-parser", "request-attribute-reporter",
        "destination-endpoint-served-verifier",
    ]
}
