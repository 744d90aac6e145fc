import EngineSimulation

extension MetricsValues {
    /// The families of an SGLang server that schedulers look at.
    func sglangPage(_ options: Options) -> [UInt8] {
        let labels =
            "{model_name=\"\(options.modelNames[0].escapedAsLabel)\",engine_type=\"unified\",tp_rank=\"0\",pp_rank=\"0\"}"
        var page: [UInt8] = []
        func sample(_ name: String, _ type: String, _ help: String, _ labels: String, _ value: Double) {
            page += "# HELP sglang:\(name) \(help)\n# TYPE sglang:\(name) \(type)\nsglang:\(name)\(labels) ".utf8
            page.appendSample(value)
            page.append(UInt8(ascii: "\n"))
        }
        sample("num_running_reqs", "gauge", "Requests that run.", labels, self[.running])
        sample("num_queue_reqs", "gauge", "Requests that wait in the queue.", labels, self[.waiting])
        sample("token_usage", "gauge", "Share of the KV cache's tokens that is in use.", labels, self[.kvCacheUsage])
        let queries = self[.prefixCacheQueries]
        let rate = queries > 0 ? self[.prefixCacheHits] / queries : 0
        sample("cache_hit_rate", "gauge", "Share of prompt tokens that the prefix cache held.", labels, rate)
        sample("prompt_tokens_total", "counter", "Prompt tokens that were processed.", labels, self[.promptTokens])
        sample("generation_tokens_total", "counter", "Tokens that were generated.", labels, self[.generationTokens])
        let cache = "{page_size=\"\(options.engine.blockSize)\",num_pages=\"\(options.engine.kvCacheSize)\"}"
        sample("cache_config_info", "gauge", "How the cache is laid out.", cache, 1)
        return page
    }
}
