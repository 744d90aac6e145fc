/// The families of everything that is measured of one request.
struct RequestFamilies {
    let total: MetricFamily<RequestLabels, Counter>
    let running: MetricFamily<RequestLabels, Gauge>
    let duration: MetricFamily<RequestLabels, Histogram>
    let requestSize: MetricFamily<RequestLabels, Histogram>
    let responseSize: MetricFamily<RequestLabels, Histogram>
    let inputTokens: MetricFamily<RequestLabels, Histogram>
    let outputTokens: MetricFamily<RequestLabels, Histogram>
    let cachedTokens: MetricFamily<RequestLabels, Histogram>
    let normalizedTimePerOutputToken: MetricFamily<RequestLabels, Histogram>
    let timeToFirstToken: MetricFamily<DetailedRequestLabels, Histogram>
    let timePerOutputToken: MetricFamily<RequestLabels, Histogram>
    let interTokenLatency: MetricFamily<RequestLabels, Histogram>

    init(_ registry: MetricsRegistry) {
        total = registry.counter(
            Exposure(
                "inference_objective_request_total",
                help: "Requests that got a decision.",
                labels: RequestLabels.modelsAndPriority
            ),
            Exposure("llm_d_epp_request_total", help: "Requests that got a decision.", labels: RequestLabels.all)
        )
        running = registry.gauge(
            Exposure(
                "inference_objective_running_requests",
                help: "Requests between decision and end.",
                labels: RequestLabels.model
            ),
            Exposure("llm_d_epp_request_running", help: "Requests between decision and end.", labels: RequestLabels.all)
        )
        /// A histogram that the two vocabularies differ in by name and labels only.
        func histogram(_ old: String, _ new: String, _ buckets: [Double], help: String)
            -> MetricFamily<RequestLabels, Histogram>
        {
            registry.histogram(
                buckets: buckets,
                Exposure("inference_objective_" + old, help: help, labels: RequestLabels.models),
                Exposure("llm_d_epp_" + new, help: help, labels: RequestLabels.all)
            )
        }
        duration = histogram(
            "request_duration_seconds",
            "request_duration_seconds",
            Buckets.general,
            help: "Seconds from a request's headers to the end of its response."
        )
        requestSize = histogram(
            "request_sizes",
            "request_size_bytes",
            Buckets.requestSize,
            help: "Bytes of request bodies."
        )
        responseSize = histogram(
            "response_sizes",
            "response_size_bytes",
            Buckets.responseSize,
            help: "Bytes of response bodies."
        )
        inputTokens = histogram(
            "input_tokens",
            "request_input_tokens",
            Buckets.inputTokens,
            help: "Prompt tokens, as the model servers report them."
        )
        outputTokens = histogram(
            "output_tokens",
            "request_output_tokens",
            Buckets.outputTokens,
            help: "Completion tokens, as the model servers report them."
        )
        cachedTokens = histogram(
            "prompt_cached_tokens",
            "request_cached_tokens",
            Buckets.inputTokens,
            help: "Prompt tokens that model servers had cached."
        )
        normalizedTimePerOutputToken = histogram(
            "normalized_time_per_output_token_seconds",
            "request_ntpot_seconds",
            Buckets.normalizedTimePerOutputToken,
            help: "Seconds of a request per completion token."
        )
        let firstToken = "Seconds from a request's headers to the first byte of its response body."
        timeToFirstToken = registry.histogram(
            buckets: Buckets.general,
            Exposure(
                "inference_objective_request_ttft_seconds",
                help: firstToken,
                labels: DetailedRequestLabels.lifted(RequestLabels.models)
            ),
            Exposure(
                "llm_d_epp_request_ttft_seconds",
                help: firstToken,
                labels: DetailedRequestLabels.lifted(RequestLabels.all) + DetailedRequestLabels.detail("streaming")
            )
        )
        timePerOutputToken = histogram(
            "request_tpot_seconds",
            "request_streaming_tpot_seconds",
            Buckets.timePerOutputToken,
            help: "Seconds per completion token after the first one, of streamed responses."
        )
        interTokenLatency = registry.histogram(
            buckets: Buckets.timePerOutputToken,
            Exposure(
                "llm_d_epp_request_streaming_itl_seconds",
                help: "Seconds between one piece of a streamed response and the next.",
                labels: RequestLabels.all
            )
        )
    }
}

/// The children of all request families for one set of labels: resolved once, then used without any look-up.
final class RequestSeries: Sendable {
    let total: Counter
    let running: Gauge
    let duration: Histogram
    let requestSize: Histogram
    let responseSize: Histogram
    let inputTokens: Histogram
    let outputTokens: Histogram
    let cachedTokens: Histogram
    let normalizedTimePerOutputToken: Histogram
    let timePerOutputToken: Histogram
    let interTokenLatency: Histogram
    private let labels: RequestLabels
    private let families: RequestFamilies

    init(_ labels: RequestLabels, _ families: RequestFamilies) {
        self.labels = labels
        self.families = families
        total = families.total.child(labels)
        running = families.running.child(labels)
        duration = families.duration.child(labels)
        requestSize = families.requestSize.child(labels)
        responseSize = families.responseSize.child(labels)
        inputTokens = families.inputTokens.child(labels)
        outputTokens = families.outputTokens.child(labels)
        cachedTokens = families.cachedTokens.child(labels)
        normalizedTimePerOutputToken = families.normalizedTimePerOutputToken.child(labels)
        timePerOutputToken = families.timePerOutputToken.child(labels)
        interTokenLatency = families.interTokenLatency.child(labels)
    }

    func timeToFirstToken(streaming: Bool) -> Histogram {
        families.timeToFirstToken.child(DetailedRequestLabels(request: labels, detail: streaming ? "true" : "false"))
    }
}
