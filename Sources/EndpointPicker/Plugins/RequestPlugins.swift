internal import Configuration

extension PluginRegistry {
    /// Parsers, and what works on responses.
    static let requestPlugins: [String: Factory] = [
        "openai-parser": { _ in .parser },
        "anthropic-parser": { _ in .parser },
        "vllmhttp-parser": { _ in .parser },
        "vllmgrpc-parser": { _ in .parser },
        "passthrough-parser": { _ in .parser },
        "destination-endpoint-served-verifier": { _ in .servedVerifier },
    ]
}
