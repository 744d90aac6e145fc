/// Where events become metrics, log lines and decision records. Each event is one method, and everything that is told of
/// it is in that method.
package final class Telemetry: Sendable {
    package let metrics: PickerMetrics
    package let decisions: DecisionLog
    /// Nil where no traces are made.
    package let tracer: Tracer?
    private let accessLog: AccessLog?

    /// - Parameters:
    ///   - accessLog: nil writes none.
    ///   - tracer: nil makes no traces.
    package init(
        metrics: PickerMetrics = PickerMetrics(),
        decisions: DecisionLog = DecisionLog(),
        accessLog: AccessLog? = nil,
        tracer: Tracer? = nil
    ) {
        self.metrics = metrics
        self.decisions = decisions
        self.accessLog = accessLog
        self.tracer = tracer
        if let tracer {
            let dropped = "Spans that were dropped: the queue was full, or their export failed."
            metrics.registry.computedGauge("apus_trace_dropped_spans", help: dropped) {
                [.init(value: Double(tracer.droppedSpans))]
            }
        }
        if let accessLog {
            let dropped = "Access log lines that were dropped because the reader was too slow."
            metrics.registry.computedGauge("apus_access_log_dropped_lines", help: dropped) {
                [.init(value: Double(accessLog.droppedLines))]
            }
        }
    }

    // MARK: The life of a request

    /// A request's headers, or the first frame of its exchange, arrived.
    package func begin(receivedAt: UInt64 = TelemetryClock.monotonicNanoseconds()) -> RequestRecord {
        metrics.streams.add(1)
        return RequestRecord(
            telemetry: self,
            receivedAt: receivedAt,
            wallNanoseconds: TelemetryClock.wallNanoseconds()
        )
    }

    /// The request goes to `record.pick`. Call once, with the request's fields, `decision`, `bodyCompleteAt` and
    /// `decidedAt` filled in.
    package func decided(_ record: RequestRecord) {
        if let decision = record.decision { decisions.record(decision) }
        observeDecision(record)
        if let pick = record.pick {
            metrics.attempts.child(
                AttemptLabels(
                    success: true,
                    targetModel: record.targetModel.asLabelValue,
                    endpoint: pick.name.asLabelValue,
                    namespace: pick.namespace.asLabelValue,
                    port: String(pick.port)
                )
            ).add()
        }
        guard !record.isHeadersOnly, record.series == nil else { return }
        let series = metrics.requestSeries(record.labels)
        record.series = series
        series.total.add()
        series.running.add(1)
        series.requestSize.observe(Double(record.requestBytes))
    }

    /// No endpoint could be picked. Call once, instead of `decided`.
    package func decisionFailed(_ record: RequestRecord) {
        if let decision = record.decision { decisions.record(decision) }
        observeDecision(record)
        metrics.attempts.child(
            AttemptLabels(
                success: false,
                targetModel: record.targetModel.asLabelValue,
                endpoint: "",
                namespace: "",
                port: ""
            )
        ).add()
    }

    /// A piece of the response's body arrived. Call for each that has bytes; an event stream's pieces are timed.
    package func responsePiece(_ record: RequestRecord, byteCount: Int, isEvent: Bool, at now: UInt64) {
        record.responseBytes += byteCount
        if record.firstByteAt == 0 {
            record.firstByteAt = now
        } else if isEvent, let series = record.series, now >= record.latestPieceAt {
            series.interTokenLatency.observe(nanoseconds: now - record.latestPieceAt)
        }
        record.latestPieceAt = now
    }

    /// The most-picked endpoint was picked `count` times on one state of the pool.
    package func herded(_ count: Int) {
        metrics.herdingPicks.observe(Double(count))
    }

    /// The request is over. A second call does nothing. `finishedAt` is filled in when it is not.
    package func finish(_ record: RequestRecord, _ termination: Termination) {
        guard !record.isFinished else { return }
        record.termination = termination
        report(record)
    }

    /// A prompt was looked up in the prefix index: `matched` of its `total` blocks were found on the endpoint that was picked.
    package func prefixPredicted(matched: Int, total: Int, blockBytes: Int) {
        guard total > 0 else { return }
        let plugin = PluginLabels(name: "approx-prefix-cache-producer", type: "approx-prefix-cache-producer")
        metrics.prefixHitRatio.child(plugin).observe(Double(matched) / Double(total))
        metrics.prefixHitBytes.child(plugin).observe(Double(matched * blockBytes))
    }

    // MARK: Scrapes

    /// A scrape ended. `outcome` is `ok` or `error`.
    /// - Parameters:
    ///   - nanoseconds: how long it took; nil for one that failed.
    ///   - hasPage: whether there was a page, though nothing could be read from it.
    package func scraped(outcome: String, nanoseconds: UInt64?, hasPage: Bool = false) {
        metrics.scrapes.child(OneLabel(outcome)).add()
        if let nanoseconds { metrics.scrapeTime.observe(nanoseconds: nanoseconds) }
        guard outcome != "ok" else { return }
        let source = "metrics-data-source"
        if hasPage {
            metrics.extractErrors.child(ExtractionLabels(source: source, extractor: "core-metrics-extractor")).add()
        } else {
            metrics.pollErrors.child(OneLabel(source)).add()
        }
    }

    // MARK: Tokens

    /// A server told the tokens of a prompt (`ok`), did not (`error`), or was not asked (`skipped`).
    /// - Parameter nanoseconds: how long it took; nil when it did not.
    package func tokensRendered(outcome: String, nanoseconds: UInt64?) {
        metrics.tokenRenders.child(OneLabel(outcome)).add()
        if let nanoseconds { metrics.tokenRenderTime.observe(nanoseconds: nanoseconds) }
    }

    // MARK: Configuration

    /// The configuration file changed; `accepted` says whether it took effect.
    package func configurationChanged(accepted: Bool) {
        metrics.configurationReloads.child(OneLabel(accepted ? "accepted" : "rejected")).add()
    }

    // MARK: What the events come to

    private func observeDecision(_ record: RequestRecord) {
        if let wait = record.time(from: record.receivedAt, to: record.bodyCompleteAt), !record.isHeadersOnly {
            metrics.frameWait.observe(nanoseconds: wait)
        }
        if let decision = record.decisionTime {
            metrics.decisionTime.observe(nanoseconds: decision)
        }
        if let processing = record.time(from: record.receivedAt, to: record.decidedAt), !record.isHeadersOnly {
            metrics.requestProcessing.observe(nanoseconds: processing)
        }
        if record.schedulingTime > 0 { metrics.scheduling.observe(nanoseconds: record.schedulingTime) }
    }

    /// Tells of a request that is over; once per record.
    func report(_ record: RequestRecord) {
        record.isFinished = true
        if record.finishedAt == 0 { record.finishedAt = TelemetryClock.monotonicNanoseconds() }
        metrics.streams.add(-1)
        guard !record.isEmpty else {
            metrics.emptyStreams.add()
            return
        }
        record.series?.running.add(-1)
        if record.status != 0 { record.decision?.responded(status: record.status) }
        if case .immediate(let status) = record.termination {
            metrics.immediateResponses.child(OneLabel(String(status))).add()
        }
        if !record.isHeadersOnly { observeRequest(record) }
        if let attempts = record.attempts { metrics.orchestration.attempts.observe(Double(attempts)) }
        accessLog?.write(record)
        tracer?.finish(record)
    }

    private func observeRequest(_ record: RequestRecord) {
        if let code = record.errorCode ?? Self.defaultErrorCode(of: record.termination) {
            metrics.errors.child(
                DetailedRequestLabels(request: record.labels, detail: code.asLabelValue)
            ).add()
        }
        // Without a response there is nothing to measure of one.
        guard record.responseHeadersAt > 0 || record.firstByteAt > 0 else { return }
        let series = record.series ?? metrics.requestSeries(record.labels)
        let usage = record.usage
        if let prompt = usage.promptTokens, prompt > 0 { series.inputTokens.observe(Double(prompt)) }
        if let completion = usage.completionTokens, completion > 0 { series.outputTokens.observe(Double(completion)) }
        if let cached = usage.cachedTokens {
            series.cachedTokens.observe(Double(cached))
            if let predicted = record.predictedCachedTokens {
                metrics.predictedTokens.add(predicted)
                metrics.reportedTokens.add(cached)
            }
        }
        if let first = record.time(from: record.receivedAt, to: record.firstByteAt) {
            series.timeToFirstToken(streaming: record.isStreaming).observe(nanoseconds: first)
        }
        if record.responseProcessingTime > 0 {
            metrics.responseProcessing.observe(nanoseconds: record.responseProcessingTime)
        }
        guard record.termination == .complete else { return }
        series.responseSize.observe(Double(record.responseBytes))
        guard let duration = record.time(from: record.receivedAt, to: record.finishedAt) else { return }
        series.duration.observe(nanoseconds: duration)
        guard let tokens = usage.completionTokens, tokens > 0 else { return }
        series.normalizedTimePerOutputToken.observe(Double(duration) / 1e9 / Double(tokens))
        if record.isStreaming, tokens > 1, let rest = record.time(from: record.firstByteAt, to: record.finishedAt) {
            series.timePerOutputToken.observe(Double(rest) / 1e9 / Double(tokens - 1))
        }
    }

    private static func defaultErrorCode(of termination: Termination) -> String? {
        termination == .complete || termination == .unobserved ? nil : "Unknown"
    }
}
