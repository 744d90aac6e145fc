package import Admission
package import Bytes
internal import Configuration
internal import ExtProc
internal import Inference
package import Pool
internal import RPC
package import Telemetry

/// What lets requests in before they are decided on.
package struct DirectorAdmission: Sendable {
    package var controller: AdmissionController
    package var metrics: FlowControlMetrics?

    package init(controller: AdmissionController, metrics: FlowControlMetrics? = nil) {
        self.controller = controller
        self.metrics = metrics
    }

    /// Admission for a pool, measured in `telemetry`.
    ///
    /// - Parameter poolName: the label of the metrics.
    package init(
        _ settings: AdmissionSettings,
        pool: Pool,
        poolName: String,
        telemetry: Telemetry,
        alarm: any AdmissionAlarm = TaskAlarm(),
        clock: @escaping @Sendable () -> MonotonicTime = { .now() }
    ) {
        let registry = telemetry.metrics.registry
        let metrics = FlowControlMetrics(registry, pool: poolName)
        let controller = AdmissionController(pool: pool, settings: settings, alarm: alarm, clock: clock) { time in
            metrics.cycled(nanoseconds: time)
        }
        metrics.exposeSaturation(registry) { [weak controller] in
            guard let controller, controller.isQueueing else { return nil }
            return controller.saturation
        }
        self.init(controller: controller, metrics: metrics)
    }
}

extension Director {
    /// Lets a request in, at once or when it is its turn. Refusals are thrown; what no wait can make right is refused at once.
    ///
    /// Hold the grant until the request's load is reserved: it stands for it. Nil when nothing is counted.
    ///
    /// - Parameter clientGone: returns true when the client has hung up; runs while the request waits, and is cancelled after it.
    func admit(
        _ inquiry: Inquiry,
        record: RequestRecord,
        clientGone: @escaping @Sendable () async -> Bool
    ) async throws -> AdmissionGrant? {
        guard let admission, !record.isHeadersOnly else { return nil }
        let controller = admission.controller
        let metrics = controller.isQueueing ? admission.metrics : nil
        let startedAt = MonotonicTime.now()
        let request = AdmissionRequest(
            fairnessID: record.fairnessID,
            priority: record.priority,
            byteCount: inquiry.bodyByteCount,
            tokens: inquiry.promptTokens,
            receivedAt: MonotonicTime(nanoseconds: record.receivedAt),
            timeToFirstToken: controller.isQueueing ? inquiry.headers.timeToFirstToken : nil,
            timeToLive: controller.isQueueing ? inquiry.headers.timeToLive : nil
        )
        let answer = controller.admit(request) { pool.candidates(in: inquiry.subset, at: startedAt) }
        let enteredAt = MonotonicTime.now()
        func note(_ outcome: String) {
            let time = enteredAt.nanoseconds - startedAt.nanoseconds
            metrics?.entered(record, outcome: outcome, nanoseconds: time)
        }
        switch consume answer {
        case .admitted(let grant):
            note(AdmissionOutcome.dispatched.label)
            metrics?.ended(record, outcome: AdmissionOutcome.dispatched.label)
            return grant
        case .refused(let outcome):
            note(outcome.label)
            metrics?.ended(record, outcome: outcome.label)
            throw PickerError.refusal(outcome, retryAfter: controller.retryAfter)
        case .queued(let queued):
            note("Queued")
            let place = metrics?.queued(record, byteCount: request.byteCount)
            let outcome = await wait(for: queued, controller, clientGone: clientGone)
            record.queueTime = MonotonicTime.now().nanoseconds - enteredAt.nanoseconds
            if let place { metrics?.left(place) }
            metrics?.ended(record, outcome: outcome.label)
            switch outcome {
            case .dispatched: return controller.grant(of: queued)
            case .cancelled: throw RPCError(code: .cancelled, message: "the client hung up while its request waited")
            default: throw PickerError.refusal(outcome, retryAfter: controller.retryAfter)
            }
        }
    }

    /// A client that hangs up is noticed in two ways: its stream is reset, which cancels this task, or it is closed in good order, which only
    /// shows to who reads it.
    private func wait(
        for queued: QueuedRequest,
        _ controller: AdmissionController,
        clientGone: @escaping @Sendable () async -> Bool
    ) async -> AdmissionOutcome {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                if await clientGone() { controller.leave(queued) }
            }
            let outcome = await controller.outcome(of: queued)
            group.cancelAll()
            return outcome
        }
    }
}

extension HeaderList {
    /// How long the client lets its request wait in the queue, as Go writes durations; nil when it says nothing, or nothing of use.
    fileprivate var timeToLive: Duration? {
        guard let text = self["x-llm-d-inference-ttl"],
            let time = ScalarReading.duration(String(ASCII.trimmed(text[...]))), time > .zero,
            time <= .seconds(100 * 86_400)
        else { return nil }
        return time
    }

    /// The time to the first token that the client wants; nil when it says none, or nothing of use.
    fileprivate var timeToFirstToken: Duration? {
        guard let text = self["x-llm-d-slo-ttft-ms"] ?? self["x-slo-ttft-ms"],
            let milliseconds = Double(ASCII.trimmed(text[...])), milliseconds > 0, milliseconds < 1e9
        else { return nil }
        return .nanoseconds(Int64(milliseconds * 1e6))
    }
}

extension PickerError {
    /// A request that was with a model server and gave way to one of a higher priority.
    static let calledBack = PickerError(
        .resourceExhausted,
        "request evicted by flow control",
        fault: .upstream,
        droppedReason: "evicted",
        retryAfter: 1
    )

    /// What a client is told that was not let in.
    static func refusal(_ outcome: AdmissionOutcome, retryAfter: Int) -> PickerError {
        func error(_ code: Code, _ message: String, _ reason: String) -> PickerError {
            PickerError(code, message, fault: .upstream, droppedReason: reason, retryAfter: retryAfter)
        }
        return switch outcome {
        case .shed:
            error(.resourceExhausted, "system saturated, sheddable request dropped", "rejected-saturated")
        case .queueFull:
            error(.resourceExhausted, "request rejected pre-queue: queue at capacity", "rejected-saturated")
        case .displaced:
            error(.resourceExhausted, "request evicted by flow control", "evicted-queue-pressure")
        case .expired:
            error(.serviceUnavailable, "request timed out in queue: its time to live is over", "rejected-ttl-expired")
        case .cancelled:
            error(.serviceUnavailable, "client disconnected: it hung up in queue", "rejected-context-cancelled")
        case .shuttingDown, .refusedByShutdown:
            error(.serviceUnavailable, "the endpoint picker is shutting down", "rejected-shutting-down")
        case .noEndpoints, .noEndpointsCame, .dispatched:
            .noEndpoints
        }
    }
}
