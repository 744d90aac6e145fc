internal import Configuration

extension PluginRegistry {
    /// Parsers, saturation detectors and what works on responses.
    static let requestPlugins: [String: Factory] = [
        "openai-parser": { _ in .parser },
        "anthropic-parser": { _ in .parser },
        "vllmhttp-parser": { _ in .parser },
        "vllmgrpc-parser": { _ in .parser },
        "passthrough-parser": { _ in .parser },
        "destination-endpoint-served-verifier": { _ in .servedVerifier },
        "utilization-detector": { parameters in
            _ = parameters.integer("queueDepthThreshold", in: 1...Int(Int32.max))
            _ = parameters.number("kvCacheUtilThreshold", in: 0.0001...1)
            _ = parameters.duration("metricsStalenessThreshold", in: .milliseconds(1)...(.seconds(86_400)))
            _ = parameters.number("headroom", in: 0...1_000)
            return .saturationDetector
        },
        "concurrency-detector": { parameters in
            _ = parameters.integer("maxConcurrency", in: 1...Int(Int32.max))
            _ = parameters.number("headroom", in: 0...1_000)
            _ = parameters.string("concurrencyMode", oneOf: ["requests", "tokens"])
            _ = parameters.integer("maxTokenConcurrency", in: 1...Int.max)
            return .saturationDetector
        },
    ]
}
