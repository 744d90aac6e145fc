/// What orchestration counts. Names of Apus's own: the reference's picker has no legs.
final class OrchestrationMetrics: Sendable {
    let legs: MetricFamily<LegLabels, Counter>
    let legTime: MetricFamily<OneLabel, Histogram>
    let attempts: Histogram
    let events: MetricFamily<OneLabel, Counter>

    init(_ registry: MetricsRegistry) {
        legs = registry.counter(
            Exposure(
                "apus_legs_total",
                help: "Sub-requests that ended, by stage and outcome.",
                labels: LegLabels.all
            )
        )
        legTime = registry.histogram(
            buckets: Buckets.general,
            Exposure(
                "apus_leg_seconds",
                help: "Seconds from the start of a sub-request to the end of its answer, by stage.",
                labels: OneLabel.named("leg")
            )
        )
        attempts =
            registry.histogram(
                buckets: [0, 1, 2, 3, 4, 5, 8],
                Exposure<NoLabels>(
                    "apus_prefill_attempts",
                    help: "Prefill attempts of requests that sent sub-requests."
                )
            ).only
        events = registry.counter(
            Exposure(
                "apus_orchestration_events_total",
                help: """
                    Requests that were resumed, that no prefill endpoint could serve (exhausted), that were left to the endpoint that decodes \
                    for that (decoded_locally) or for their shape (decoded_alone), that were run again after their decode had died \
                    (rescued); prompts that were computed for a decode that never began (stranded); transfer parameters that a \
                    gateway's retry gave to a second endpoint (spent_twice).
                    """,
                labels: OneLabel.named("event")
            )
        )
    }
}

/// Labels of one sub-request.
struct LegLabels: MetricLabels {
    let leg: String
    let outcome: String

    static var overflow: LegLabels { LegLabels(leg: otherLabelValue, outcome: otherLabelValue) }

    static var all: [Exposure<LegLabels>.Label] {
        [.init("leg") { $0.leg }, .init("outcome") { $0.outcome }]
    }
}

/// What happens to an orchestrated request beside its legs.
package enum OrchestrationEvent: String, Sendable {
    case resumed, exhausted, rescued, stranded
    case decodedLocally = "decoded_locally"
    /// The engines cannot split a request of its kind.
    case decodedAlone = "decoded_alone"
    case spentTwice = "spent_twice"
}

extension Telemetry {
    /// A sub-request of `record`'s request ended.
    package func legEnded(_ record: RequestRecord, _ leg: DecisionRecord.Leg) {
        legOutlives(record, leg)
        legEnded(leg)
    }

    /// A sub-request of `record`'s request goes on after it.
    package func legOutlives(_ record: RequestRecord, _ leg: DecisionRecord.Leg) {
        var ended = leg
        ended.endedAt = TelemetryClock.monotonicNanoseconds()
        record.legs.append(ended)
    }

    /// A sub-request ended whose request has ended before.
    package func legEnded(_ leg: DecisionRecord.Leg) {
        metrics.orchestration.legs.child(LegLabels(leg: leg.leg, outcome: leg.outcome)).add()
        if leg.outcome == "ok" { metrics.orchestration.legTime.child(OneLabel(leg.leg)).observe(leg.seconds) }
    }

    package func orchestration(_ event: OrchestrationEvent) {
        metrics.orchestration.events.child(OneLabel(event.rawValue)).add()
    }
}
