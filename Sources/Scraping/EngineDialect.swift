/// Under which names one kind of model server publishes what the picker reads. A nil selector means that it does not publish it.
package struct EngineDialect: Sendable, Equatable {
    package var queuedRequests: MetricSelector?
    package var runningRequests: MetricSelector?
    /// Share of the KV cache in use. The first selector that the page has counts; others are older names of it.
    package var kvUsage: [MetricSelector] = []
    /// A gauge whose value is a unix time and whose labels name the LoRA adapters.
    package var lora: MetricSelector?
    /// A gauge whose labels describe the KV cache, and the names of those labels.
    package var cacheInfo: MetricSelector?
    package var blockSizeLabel = ""
    package var blockCountLabel = ""
    /// The same as gauges of their own.
    package var cacheBlockSize: MetricSelector?
    package var cacheBlockCount: MetricSelector?

    package init() {}
}

// MARK: The engines

extension EngineDialect {
    package static let vllm: EngineDialect = {
        var dialect = EngineDialect()
        dialect.queuedRequests = MetricSelector("vllm:num_requests_waiting")
        dialect.runningRequests = MetricSelector("vllm:num_requests_running")
        dialect.kvUsage = [MetricSelector("vllm:kv_cache_usage_perc"), MetricSelector("vllm:gpu_cache_usage_perc")]
        dialect.lora = MetricSelector("vllm:lora_requests_info")
        dialect.cacheInfo = MetricSelector("vllm:cache_config_info")
        dialect.blockSizeLabel = "block_size"
        dialect.blockCountLabel = "num_gpu_blocks"
        return dialect
    }()

    package static let sglang: EngineDialect = {
        var dialect = EngineDialect()
        dialect.queuedRequests = MetricSelector("sglang:num_queue_reqs")
        dialect.runningRequests = MetricSelector("sglang:num_running_reqs")
        dialect.kvUsage = [MetricSelector("sglang:token_usage")]
        dialect.cacheInfo = MetricSelector("sglang:cache_config_info")
        dialect.blockSizeLabel = "page_size"
        dialect.blockCountLabel = "num_pages"
        return dialect
    }()

    package static let tensorRTServe: EngineDialect = {
        var dialect = EngineDialect()
        dialect.queuedRequests = MetricSelector("trtllm_num_requests_waiting")
        dialect.runningRequests = MetricSelector("trtllm_num_requests_running")
        dialect.kvUsage = [MetricSelector("trtllm_kv_cache_utilization")]
        dialect.cacheBlockSize = MetricSelector("trtllm_kv_cache_tokens_per_block")
        dialect.cacheBlockCount = MetricSelector("trtllm_kv_cache_max_blocks")
        return dialect
    }()

    package static let tritonTensorRT: EngineDialect = {
        let requests = "nv_trt_llm_request_metrics"
        let blocks = "nv_trt_llm_kv_cache_block_metrics"
        var dialect = EngineDialect()
        dialect.queuedRequests = MetricSelector(requests, labels: ["request_type": "waiting"])
        dialect.runningRequests = MetricSelector(requests, labels: ["request_type": "scheduled"])
        dialect.kvUsage = [MetricSelector(blocks, labels: ["kv_cache_block_type": "fraction"])]
        dialect.cacheBlockSize = MetricSelector(blocks, labels: ["kv_cache_block_type": "tokens_per"])
        dialect.cacheBlockCount = MetricSelector(blocks, labels: ["kv_cache_block_type": "max"])
        return dialect
    }()
}

/// The dialects by the name of their engine, and which one an endpoint speaks.
package struct EngineDialects: Sendable {
    /// The labels that name an endpoint's engine, the first that is there counting.
    package static let engineLabels = ["inference.networking.k8s.io/engine-type", "llm-d.ai/engine-type"]

    package static let standard = known(label: engineLabels[0], standard: "vllm")

    /// The engines that are known without being described, by name.
    package static let builtIn: [String: EngineDialect] = [
        "vllm": .vllm, "sglang": .sglang, "trtllm-serve": .tensorRTServe, "triton-tensorrt-llm": .tritonTensorRT,
    ]

    private let labels: [String]
    private let pages: [String: MetricsPage]
    private let fallback: MetricsPage

    /// The engines that are known, with another label to name them or another one for endpoints that name none.
    ///
    /// - Parameter described: further engines; one with the name of a known engine takes its place altogether.
    package static func known(
        label: String,
        standard: String,
        described: [String: EngineDialect] = [:]
    ) -> EngineDialects {
        EngineDialects(
            builtIn.merging(described) { $1 },
            standard: standard,
            labels: [label] + engineLabels.filter { $0 != label }
        )
    }

    /// - Parameters:
    ///   - standard: the engine of endpoints that name none, or one that is not in the table.
    ///   - labels: the labels that name an endpoint's engine, the first that is there counting.
    package init(_ dialects: [String: EngineDialect], standard: String, labels: [String] = engineLabels) {
        self.labels = labels
        pages = dialects.mapValues { MetricsPage($0) }
        fallback = pages[standard] ?? MetricsPage(.vllm)
    }

    package func page(forLabels described: [String: String]) -> MetricsPage {
        let engine = self.labels.lazy.compactMap { described[$0] }.first
        return engine.flatMap { pages[$0] } ?? fallback
    }
}
