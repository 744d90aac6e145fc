extension PluginRegistry {
    /// Types of the reference pickers that this version does not make. A configuration that names one is refused with words that tell it
    /// from a misspelt one.
    static let laterTypes: Set<String> = [
        // Filters
        "slo-headroom-tier-filter", "disaggregatedset-rollout-screener", "multicluster-session-affinity-filter",
        // Scorers
        "precise-prefix-cache-scorer", "mm-embeddings-cache-scorer", "latency-scorer", "predicted-latency-scorer",
        // Data producers and admission
        "precise-prefix-cache-producer", "burst-prefix-cache-producer", "p2p-source-producer",
        "mm-embeddings-cache-producer", "predicted-latency-producer", "agent-identity",
        "latency-slo-admitter", "probabilistic-admitter",
        // Flow control
        "program-aware-fairness", "priority-holdback-policy", "soft-reflective-ceiling-policy",
        // Data layer
        "k8s-notification-source", "endpoint-notification-source", "models-data-source",
        "models-data-extractor", "dcgm-data-source", "dcgm-extractor",
        // Parsers and responses
        "sglanghttp-parser", "vertexai-parser", "request-attribute-reporter",
    ]
}
