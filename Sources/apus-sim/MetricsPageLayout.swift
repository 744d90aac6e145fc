/// Lays out a page: the families of a vLLM 0.32 server with their types, labels and buckets, in its order.
struct MetricsPageLayout {
    /// What the constants of a page depend on.
    struct Facts: Sendable {
        let model: String
        let maxModelLen: Int
        let blockSize: Int
        let blockCount: Int
        let hasAdapters: Bool
        let hasNIXL: Bool
        /// Unix time of the start.
        let started: Double
    }

    private let facts: Facts
    private let modelLabel: String
    private let engineLabels: String
    private let createdText: String
    private var page = MetricsPage()

    static func page(_ facts: Facts) -> MetricsPage {
        var layout = MetricsPageLayout(facts)
        layout.process()
        if facts.hasNIXL { layout.nixl() }
        layout.utilization()
        layout.load()
        layout.caches()
        layout.tokens()
        layout.requests()
        layout.histograms()
        layout.configuration()
        layout.http()
        return layout.page
    }

    private init(_ facts: Facts) {
        self.facts = facts
        modelLabel = "model_name=\"\(facts.model.escapedAsLabel)\""
        engineLabels = "engine=\"0\"," + modelLabel
        createdText = sampleText(facts.started)
    }

    // MARK: Pieces

    mutating func head(_ name: String, _ type: String, _ help: String) {
        page.append("# HELP \(name) \(help)\n# TYPE \(name) \(type)\n")
    }

    mutating func line(_ name: String, _ labels: String, _ slot: MetricsPage.Slot?) {
        page.append(name + (labels.isEmpty ? " " : "{\(labels)} "))
        if let slot { page.append(slot) } else { page.append("0.0") }
        page.append("\n")
    }

    private mutating func gauge(_ name: String, _ help: String, _ slot: MetricsPage.Slot) {
        head(name, "gauge", help)
        line(name, engineLabels, slot)
    }

    /// A counter and when it was created; a value without a slot stays 0.
    mutating func counter(_ name: String, _ help: String, _ values: [(String, MetricsPage.Slot?)]) {
        head(name + "_total", "counter", help)
        for (labels, slot) in values { line(name + "_total", labels, slot) }
        created(name, help, values.map(\.0))
    }

    mutating func counter(_ name: String, _ help: String, _ slot: MetricsPage.Slot?) {
        counter(name, help, [(engineLabels, slot)])
    }

    mutating func created(_ name: String, _ help: String, _ labels: [String]) {
        head(name + "_created", "gauge", help)
        for labels in labels {
            page.append(name + "_created" + (labels.isEmpty ? " " : "{\(labels)} ") + createdText + "\n")
        }
    }

    /// `le` is put between the labels so that they stay in alphabetical order.
    mutating func series(_ name: String, _ histogram: HistogramName, before: String, after: String) {
        let bounds = histogram.bounds(maxModelLen: facts.maxModelLen)
        for index in 0...bounds.count {
            let bound = index < bounds.count ? "\(bounds[index])" : "+Inf"
            let labels = [before, "le=\"\(bound)\"", after].filter { !$0.isEmpty }.joined(separator: ",")
            line(name + "_bucket", labels, .bucket(histogram, index))
        }
        let labels = [before, after].filter { !$0.isEmpty }.joined(separator: ",")
        line(name + "_count", labels, .histogramCount(histogram))
        line(name + "_sum", labels, .histogramSum(histogram))
    }

    private mutating func histogram(_ name: String, _ help: String, _ histogram: HistogramName) {
        head(name, "histogram", help)
        series(name, histogram, before: "engine=\"0\"", after: modelLabel)
        created(name, help, [engineLabels])
    }

    // MARK: Families

    private mutating func process() {
        for (name, help) in [
            ("objects_collected", "Objects that a garbage collection freed"),
            ("objects_uncollectable", "Objects that a garbage collection found and could not free"),
            ("collections", "Garbage collections of this generation"),
        ] {
            head("python_gc_\(name)_total", "counter", help)
            for generation in 0..<3 { line("python_gc_\(name)_total", "generation=\"\(generation)\"", nil) }
        }
        head("python_info", "gauge", "Which Python runs the server; the simulator runs none")
        page.append(
            "python_info{implementation=\"none\",major=\"0\",minor=\"0\",patchlevel=\"0\",version=\"0.0.0\"} 1.0\n"
        )
        for (name, type, help, value) in [
            ("virtual_memory_bytes", "gauge", "Virtual memory of the process in bytes.", "2.032644096e+09"),
            ("resident_memory_bytes", "gauge", "Resident memory of the process in bytes.", "6.63220224e+08"),
            ("start_time_seconds", "gauge", "When the process was started, in Unix time.", createdText),
            ("cpu_seconds_total", "counter", "User and system CPU time of the process in seconds.", "7.39"),
            ("open_fds", "gauge", "Open file descriptors of the process.", "58.0"),
            ("max_fds", "gauge", "Most file descriptors that the process may open.", "20000.0"),
        ] {
            head("process_\(name)", type, help)
            page.append("process_\(name) \(value)\n")
        }
    }

    private mutating func nixl() {
        counter("vllm:nixl_num_failed_transfers", "Transfers of KV between engines that failed.", .failedTransfers)
        counter("vllm:nixl_num_failed_notifications", "Notifications to other engines that failed.", nil)
        counter("vllm:nixl_num_kv_expired_reqs", "Requests whose KV no decode fetched in time.", .expiredLeases)
        counter(
            "vllm:nixl_num_notifications_after_expiry",
            "Notifications of decodes that read KV after it had expired.",
            .notificationsAfterExpiry
        )
    }

    private mutating func utilization() {
        let of = "for each GPU, an estimate from which the Model FLOPs Utilization can be computed."
        counter("vllm:estimated_flops_per_gpu", "Floating point operations \(of)", nil)
        counter("vllm:estimated_read_bytes_per_gpu", "Bytes that were read from memory \(of)", nil)
        counter("vllm:estimated_write_bytes_per_gpu", "Bytes that were written to memory \(of)", nil)
    }

    private mutating func load() {
        gauge("vllm:num_requests_running", "Requests in the batch that the engine executes.", .running)
        gauge("vllm:num_requests_waiting", "Requests that wait for their turn.", .waiting)
        let byReason = "vllm:num_requests_waiting_by_reason"
        head(
            byReason,
            "gauge",
            "Requests that wait, by why they do. Reasons: 'capacity' = the engine has no room for them; 'deferred' = there is"
                + " room, but something else holds them back for now, such as the number of LoRA adapters. Both add up to"
                + " vllm:num_requests_waiting."
        )
        line(byReason, engineLabels + ",reason=\"capacity\"", .waitingForCapacity)
        line(byReason, engineLabels + ",reason=\"deferred\"", .waitingDeferred)
        head(
            "vllm:engine_sleep_state",
            "gauge",
            "Whether the engine sleeps; awake = 1 means that it does not; weights_offloaded = 1 means that its weights were"
                + " moved away (level 1); discard_all = 1 means that they were thrown away (level 2)."
        )
        for (state, value) in [("awake", "1.0"), ("weights_offloaded", "0.0"), ("discard_all", "0.0")] {
            page.append("vllm:engine_sleep_state{\(engineLabels),sleep_state=\"\(state)\"} \(value)\n")
        }
        gauge("vllm:kv_cache_usage_perc", "Share of the KV cache that is in use; 1 is all of it.", .kvCacheUsage)
    }

    private mutating func caches() {
        let queried = ", counted in tokens that were looked up."
        let found = ", counted in tokens that were found."
        counter("vllm:prefix_cache_queries", "Queries of the prefix cache\(queried)", .prefixCacheQueries)
        counter("vllm:prefix_cache_hits", "Hits in the prefix cache\(found)", .prefixCacheHits)
        let shared = "prefix cache that instances share through a KV connector"
        let queries: MetricsPage.Slot? = facts.hasNIXL ? .externalQueries : nil
        counter("vllm:external_prefix_cache_queries", "Queries of the \(shared)\(queried)", queries)
        counter("vllm:external_prefix_cache_hits", "Hits in the \(shared)\(found)", .externalTokens)
        counter("vllm:mm_cache_queries", "Queries of the multi-modal cache, counted in items that were looked up.", nil)
        counter("vllm:mm_cache_hits", "Hits in the multi-modal cache, counted in items that were found.", nil)
        counter("vllm:num_preemptions", "Requests that were preempted, in all.", .preemptions)
    }

    private mutating func tokens() {
        counter("vllm:prompt_tokens", "Tokens of prompts that were prefilled.", .promptTokens)
        let sources: [(String, MetricsPage.Slot?)] = [
            ("local_compute", .computedPromptTokens), ("local_cache_hit", .prefixCacheHits),
            ("external_kv_transfer", .externalTokens),
        ]
        counter(
            "vllm:prompt_tokens_by_source",
            "Tokens of prompts by where they came from.",
            sources.map { (engineLabels + ",source=\"\($0.0)\"", $0.1) }
        )
        counter("vllm:prompt_tokens_cached", "Tokens of prompts that some cache held.", .cachedTokens)
        let tiers: [(String, MetricsPage.Slot?)] = [
            ("device", .prefixCacheHits), ("host", nil), ("p2p", .externalTokens), ("disk", nil),
            ("external_unspecified", nil),
        ]
        counter(
            "vllm:prompt_tokens_cached_by_source",
            "Tokens of prompts that were found in a cache, by its tier: device (the GPU's memory), host (the CPU's), disk, p2p"
                + " (another server's) or external_unspecified. Counted when a request is admitted; all tiers add up to"
                + " vllm:prefix_cache_hits and vllm:external_prefix_cache_hits.",
            tiers.map { (engineLabels + ",source=\"\($0.0)\"", $0.1) }
        )
        counter("vllm:generation_tokens", "Tokens that were generated.", .generationTokens)
    }

    private mutating func requests() {
        let reasons: [(String, MetricsPage.Slot?)] = [
            ("stop", .finishedByStop), ("length", .finishedByLength), ("abort", .aborted), ("error", nil),
            ("repetition", nil),
        ]
        counter(
            "vllm:request_success",
            "Requests that were served to their end.",
            reasons.map { ("engine=\"0\",finished_reason=\"\($0.0)\",\(modelLabel)", $0.1) }
        )
        counter(
            "vllm:admission_rejections",
            "Requests that were turned away by a limit of the queue, by reason.",
            [("max_num_queued_reqs", MetricsPage.Slot.rejected), ("max_num_queued_tokens", nil)].map {
                ("\(modelLabel),reason=\"\($0.0)\"", $0.1)
            }
        )
    }

    private mutating func histograms() {
        let phase = "Distribution of the seconds that a request spent"
        for (name, help, which) in [
            ("request_prompt_tokens", "Tokens of a request's prompt.", HistogramName.requestPromptTokens),
            ("request_generation_tokens", "Tokens that a request generated.", .requestGenerationTokens),
            ("iteration_tokens_total", "Distribution of tokens per step of the engine.", .iterationTokens),
            (
                "request_max_num_generation_tokens", "Distribution of the most tokens a request generated.",
                .requestMaxGenerationTokens
            ),
            ("request_params_n", "Distribution of the parameter n of requests.", .requestN),
            ("request_params_max_tokens", "Distribution of the parameter max_tokens of requests.", .requestMaxTokens),
            ("time_to_first_token_seconds", "Distribution of seconds until the first token.", .timeToFirstToken),
            ("inter_token_latency_seconds", "Distribution of seconds between two tokens.", .interTokenLatency),
            (
                "request_time_per_output_token_seconds", "Distribution of a request's mean seconds per output token.",
                .requestTimePerOutputToken
            ),
            ("e2e_request_latency_seconds", "Distribution of seconds from arrival to end.", .endToEnd),
            ("request_queue_time_seconds", "\(phase) in the WAITING phase.", .queueTime),
            ("request_inference_time_seconds", "\(phase) in the RUNNING phase.", .inferenceTime),
            ("request_prefill_time_seconds", "\(phase) in the PREFILL phase.", .prefillTime),
            ("request_decode_time_seconds", "\(phase) in the DECODE phase.", .decodeTime),
            ("request_num_preemptions", "Distribution of how often a request was preempted.", .preemptions),
            (
                "request_prefill_kv_computed_tokens",
                "Distribution of the tokens that a prefill computed anew, cached ones left out.", .prefillComputedTokens
            ),
        ] {
            histogram("vllm:" + name, help, which)
        }
    }

    private mutating func configuration() {
        if facts.hasAdapters { head("vllm:lora_requests_info", "gauge", "What LoRA adapters run and wait.") }
        page.append(.adapterSets)
        head("vllm:cache_config_info", "gauge", "How the engine's cache is configured")
        let tokens = facts.blockSize * facts.blockCount
        let labels: [(String, String)] = [
            ("_block_size_resolved", "True"), ("block_size", "\(facts.blockSize)"), ("cache_dtype", "auto"),
            ("cache_hit_alignment_tokens", "None"), ("effective_attention_block_size", "\(facts.blockSize)"),
            ("enable_mamba_shared_prefix_checkpoint", "False"), ("enable_prefix_caching", "True"), ("engine", "0"),
            ("gpu_memory_utilization", "0.92"), ("hash_block_size", "None"), ("is_attention_free", "False"),
            ("kv_cache_dtype_skip_layers", "[]"), ("kv_cache_layout", "None"),
            ("kv_cache_max_concurrency", "\(Double(tokens) / Double(max(facts.maxModelLen, 1)))"),
            ("kv_cache_memory_bytes", "1073741824"), ("kv_cache_size_tokens", "\(tokens)"),
            ("kv_offloading_backend", "native"), ("kv_offloading_size", "None"), ("kv_sharing_fast_prefill", "False"),
            ("mamba_block_size", "None"), ("mamba_cache_dtype", "auto"), ("mamba_cache_mode", "none"),
            ("mamba_page_size_padded", "None"), ("mamba_ssm_cache_dtype", "float32"), ("num_cpu_blocks", "None"),
            ("num_gpu_blocks", "\(facts.blockCount)"), ("num_gpu_blocks_override", "\(facts.blockCount)"),
            ("prefix_cache_retention_interval", "0"), ("prefix_caching_hash_algo", "sha256"),
            ("prefix_match_unit", "None"), ("replayssm_buffer_len", "16"), ("skip_page_size_padded", "None"),
            ("sliding_window", "None"), ("swa_bounded_replay", "True"), ("use_kda_recoverssm", "False"),
            ("use_replayssm", "False"), ("user_specified_block_size", "True"),
        ]
        let text = labels.map { "\($0.0)=\"\($0.1)\"" }.joined(separator: ",")
        page.append("vllm:cache_config_info{\(text)} 1.0\n")
    }
}
