/// The families of the web framework in front of the engine.
extension MetricsPageLayout {
    mutating func http() {
        let completions = "handler=\"/v1/completions\""
        let chat = "handler=\"/v1/chat/completions\""
        let post = ",method=\"POST\""
        counter(
            "http_requests",
            "Requests by handler, method and status.",
            [
                (completions + post + ",status=\"2xx\"", .completionsRequests),
                (chat + post + ",status=\"2xx\"", .chatRequests),
            ]
        )
        summary(
            "http_request_size_bytes",
            "Sizes of requests by handler, as their content-length tells them; no quantiles.",
            [
                (completions, .completionsRequests, .completionsRequestBytes),
                (chat, .chatRequests, .chatRequestBytes),
            ]
        )
        summary(
            "http_response_size_bytes",
            "Sizes of answers by handler, as their content-length tells them; no quantiles.",
            [
                (completions, .completionsRequests, .completionsResponseBytes),
                (chat, .chatRequests, .chatResponseBytes),
            ]
        )
        let fine = "Durations of requests in many buckets and without labels, for exact quantiles."
        head("http_request_duration_highr_seconds", "histogram", fine)
        series("http_request_duration_highr_seconds", .httpDuration, before: "", after: "")
        created("http_request_duration_highr_seconds", fine, [""])
        let coarse = "Durations of requests by handler in few buckets, for sums over handlers."
        head("http_request_duration_seconds", "histogram", coarse)
        let methodLabel = "method=\"POST\""
        series("http_request_duration_seconds", .httpCompletionsDuration, before: completions, after: methodLabel)
        series("http_request_duration_seconds", .httpChatDuration, before: chat, after: methodLabel)
        created("http_request_duration_seconds", coarse, [completions + post, chat + post])
    }

    private mutating func summary(
        _ name: String,
        _ help: String,
        _ values: [(labels: String, count: MetricsPage.Slot, sum: MetricsPage.Slot)]
    ) {
        head(name, "summary", help)
        for value in values {
            line(name + "_count", value.labels, value.count)
            line(name + "_sum", value.labels, value.sum)
        }
        created(name, help, values.map(\.labels))
    }
}
