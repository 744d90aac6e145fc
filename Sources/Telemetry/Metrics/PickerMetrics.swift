import Bytes

/// Every metric of the picker, each defined once: its names in the router's and in the Inference Extension's
/// vocabulary, its labels and its buckets. Events feed them (`Telemetry`); nothing else does but for the prefix index.
package final class PickerMetrics: Sendable {
    package let registry = MetricsRegistry()

    let errors: MetricFamily<DetailedRequestLabels, Counter>
    let attempts: MetricFamily<AttemptLabels, Counter>
    let scheduling: Histogram
    let pluginTime: MetricFamily<PluginTimeLabels, Histogram>
    let requestProcessing: Histogram
    let responseProcessing: Histogram
    let pollErrors: MetricFamily<OneLabel, Counter>
    let extractErrors: MetricFamily<ExtractionLabels, Counter>
    /// Share of a prompt's blocks that the picked endpoint holds, 0...1.
    package let prefixHitRatio: MetricFamily<PluginLabels, Histogram>
    /// Bytes of a prompt that the picked endpoint holds.
    package let prefixHitBytes: MetricFamily<PluginLabels, Histogram>
    let disaggregations: MetricFamily<DisaggregationLabels, Counter>
    let prefillDecisions: MetricFamily<DisaggregationLabels, Counter>
    let modelRewrites: MetricFamily<ModelRewriteLabels, Counter>

    let streams: Gauge
    let emptyStreams: Counter
    let scrapes: MetricFamily<OneLabel, Counter>
    let configurationReloads: MetricFamily<OneLabel, Counter>
    let scrapeTime: Histogram
    let tokenRenders: MetricFamily<OneLabel, Counter>
    let tokenRenderTime: Histogram
    let frameWait: Histogram
    let decisionTime: Histogram
    let immediateResponses: MetricFamily<OneLabel, Counter>
    let predictedTokens: Counter
    let reportedTokens: Counter
    let herdingPicks: Histogram
    let orchestration: OrchestrationMetrics

    private let requests: RequestFamilies
    private let series = Lock(BoundedTable<RequestLabels, RequestSeries>(limit: MetricsRegistry.childLimit))

    package init() {
        requests = RequestFamilies(registry)
        orchestration = OrchestrationMetrics(registry)
        errors = registry.counter(
            Exposure(
                "inference_objective_request_error_total",
                help: "Requests that ended in an error, by error code.",
                labels: DetailedRequestLabels.lifted(RequestLabels.models) + DetailedRequestLabels.detail("error_code")
            ),
            Exposure(
                "llm_d_epp_request_error_total",
                help: "Requests that ended in an error, by error code.",
                labels: DetailedRequestLabels.lifted(RequestLabels.all) + DetailedRequestLabels.detail("error_code")
            )
        )
        attempts = registry.counter(
            Exposure(
                "inference_extension_scheduler_attempts_total",
                help: "Scheduling decisions, by outcome and endpoint.",
                labels: AttemptLabels.exposed(endpointAs: "pod_name")
            ),
            Exposure(
                "llm_d_epp_scheduler_attempts_total",
                help: "Scheduling decisions, by outcome and endpoint.",
                labels: AttemptLabels.exposed(endpointAs: "endpoint_name")
            )
        )
        scheduling =
            registry.histogram(
                buckets: Buckets.scheduler,
                Exposure<NoLabels>(
                    "inference_extension_scheduler_e2e_duration_seconds",
                    help: "Seconds that scheduling decisions took."
                ),
                Exposure<NoLabels>(
                    "llm_d_epp_scheduler_e2e_duration_seconds",
                    help: "Seconds that scheduling decisions took."
                )
            ).only
        pluginTime = registry.histogram(
            buckets: Buckets.scheduler,
            Exposure(
                "inference_extension_plugin_duration_seconds",
                help: "Seconds that plugins took, in one decision of 64.",
                labels: PluginTimeLabels.all
            ),
            Exposure(
                "llm_d_epp_plugin_duration_seconds",
                help: "Seconds that plugins took, in one decision of 64.",
                labels: PluginTimeLabels.all
            )
        )
        requestProcessing =
            registry.histogram(
                buckets: Buckets.general,
                Exposure<NoLabels>(
                    "llm_d_epp_request_processing_duration_seconds",
                    help: "Seconds from a request's headers to its decision, waiting for its body included."
                )
            ).only
        responseProcessing =
            registry.histogram(
                buckets: Buckets.fine,
                Exposure<NoLabels>(
                    "llm_d_epp_response_processing_duration_seconds",
                    help: "Seconds that Apus worked on the frames of a response."
                )
            ).only
        pollErrors = registry.counter(
            Exposure(
                "llm_d_epp_datalayer_poll_errors_total",
                help: "Scrapes of endpoints that failed.",
                labels: OneLabel.named("source_type")
            )
        )
        extractErrors = registry.counter(
            Exposure(
                "llm_d_epp_datalayer_extract_errors_total",
                help: "Pages of endpoints from which nothing could be read.",
                labels: ExtractionLabels.all
            )
        )
        prefixHitRatio = registry.histogram(
            buckets: Buckets.hitRatio,
            Exposure("inference_extension_prefix_indexer_hit_ratio", help: "Share of a prompt found in the index."),
            Exposure(
                "llm_d_epp_prefix_indexer_hit_ratio",
                help: "Share of a prompt found in the index.",
                labels: PluginLabels.all
            )
        )
        prefixHitBytes = registry.histogram(
            buckets: Buckets.hitBytes,
            Exposure("inference_extension_prefix_indexer_hit_bytes", help: "Bytes of a prompt found in the index."),
            Exposure(
                "llm_d_epp_prefix_indexer_hit_bytes",
                help: "Bytes of a prompt found in the index.",
                labels: PluginLabels.all
            )
        )
        disaggregations = registry.counter(
            Exposure(
                "llm_d_epp_disagg_decision_total",
                help: "Decisions, by the stages that got endpoints of their own.",
                labels: DisaggregationLabels.all
            ),
            Exposure(
                "llm_d_inference_scheduler_disagg_decision_total",
                help: "Decisions, by the stages that got endpoints of their own.",
                labels: DisaggregationLabels.own
            )
        )

        prefillDecisions = registry.counter(
            Exposure(
                "llm_d_epp_pd_decision_total",
                help: "Decisions, by whether the prompt got an endpoint of its own.",
                labels: DisaggregationLabels.all
            ),
            Exposure(
                "llm_d_inference_scheduler_pd_decision_total",
                help: "Decisions, by whether the prompt got an endpoint of its own.",
                labels: DisaggregationLabels.own
            )
        )
        modelRewrites = registry.counter(
            Exposure(
                "inference_extension_model_rewrite_decisions_total",
                help: "Models that were rewritten, by the rewrite whose rule it was.",
                labels: ModelRewriteLabels.all
            ),
            Exposure(
                "llm_d_epp_model_rewrite_decisions_total",
                help: "Models that were rewritten, by the rewrite whose rule it was.",
                labels: ModelRewriteLabels.all
            )
        )

        streams = registry.gauge(Exposure<NoLabels>("apus_streams_active", help: "Requests that Apus has open.")).only
        emptyStreams =
            registry.counter(
                Exposure<NoLabels>("apus_empty_streams_total", help: "Streams that ended before their first frame.")
            ).only
        scrapes = registry.counter(
            Exposure("apus_scrape_total", help: "Scrapes of endpoints, by outcome.", labels: OneLabel.named("outcome"))
        )
        configurationReloads = registry.counter(
            Exposure(
                "apus_config_reloads_total",
                help: "Changes of the configuration file, by whether they took effect.",
                labels: OneLabel.named("outcome")
            )
        )
        scrapeTime =
            registry.histogram(
                buckets: Buckets.fine,
                Exposure<NoLabels>("apus_scrape_seconds", help: "Seconds that scrapes of endpoints took.")
            ).only
        tokenRenders = registry.counter(
            Exposure(
                "apus_token_renders_total",
                help: "Prompts whose tokens a server was to tell, by outcome; all but ok were estimated.",
                labels: OneLabel.named("outcome")
            )
        )
        tokenRenderTime =
            registry.histogram(
                buckets: Buckets.fine,
                Exposure<NoLabels>(
                    "apus_token_render_seconds",
                    help: "Seconds that a server took to tell the tokens of a prompt."
                )
            ).only
        frameWait =
            registry.histogram(
                buckets: Buckets.fine,
                Exposure<NoLabels>(
                    "apus_request_frame_wait_seconds",
                    help: "Seconds from a request's headers to the last frame of its body, spent waiting for the proxy."
                )
            ).only
        decisionTime =
            registry.histogram(
                buckets: Buckets.fine,
                Exposure<NoLabels>(
                    "apus_decision_seconds",
                    help: "Seconds from the last frame of a request's body to the picked endpoint."
                )
            ).only
        predictedTokens =
            registry.counter(
                Exposure<NoLabels>(
                    "apus_prefix_predicted_tokens_total",
                    help:
                        "Prompt tokens that the prefix index expected cached, of requests whose server told how many were."
                )
            ).only
        reportedTokens =
            registry.counter(
                Exposure<NoLabels>(
                    "apus_prefix_reported_tokens_total",
                    help: "Prompt tokens that model servers reported cached, of requests with a prediction."
                )
            ).only
        herdingPicks =
            registry.histogram(
                buckets: Buckets.herdingPicks,
                Exposure<NoLabels>(
                    "apus_herding_picks",
                    help: "Picks of the most-picked endpoint between two publications of the pool's metrics."
                )
            ).only
        immediateResponses = registry.counter(
            Exposure(
                "apus_immediate_responses_total",
                help: "Requests that Apus answered itself, by status code.",
                labels: OneLabel.named("code")
            )
        )
    }

    /// The metrics of requests with these labels. At most as many are kept as a family has children.
    func requestSeries(_ labels: RequestLabels) -> RequestSeries {
        series.withLock { series in
            series.value(of: labels) { RequestSeries($0, requests) }
        }
    }

    // MARK: Values computed when the page is rendered

    /// Exposes the build.
    package func exposeInfo(commit: String, buildRef: String) {
        for name in ["inference_extension_info", "llm_d_epp_info"] {
            registry.computedGauge(name, help: "The build that runs; always 1.") {
                [.init(labels: [("commit", commit), ("build_ref", buildRef)], value: 1)]
            }
        }
    }

    /// Exposes the number of entries of a prefix index; the last call counts.
    package func exposePrefixIndexSize(plugin: PluginLabels, _ size: @escaping @Sendable () -> Int) {
        let help = "Blocks in the prefix index."
        registry.computedGauge("inference_extension_prefix_indexer_size", help: help) { [.init(value: Double(size()))] }
        registry.computedGauge("llm_d_epp_prefix_indexer_size", help: help) {
            [.init(labels: [("plugin_name", plugin.name), ("plugin_type", plugin.type)], value: Double(size()))]
        }
    }

    /// Exposes the pool's gauges, read anew at each rendering; the last call counts.
    package func exposePool(_ read: @escaping @Sendable () -> PoolReading) {
        PoolGauges.expose(in: registry, read)
    }
}
