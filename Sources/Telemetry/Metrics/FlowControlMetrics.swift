/// What is measured of requests that wait, or might have to. Nothing of it is on the page before flow control is in use.
package final class FlowControlMetrics: Sendable {
    /// The gauges that a waiting request is counted in; the same are counted down when it leaves.
    package struct Place: Sendable {
        fileprivate let size: Gauge
        fileprivate let bytes: Gauge
        fileprivate let byteCount: Int
    }

    private let queueDuration: MetricFamily<DetailedRequestLabels, Histogram>
    private let enqueueDuration: MetricFamily<DetailedRequestLabels, Histogram>
    private let cycleDuration: MetricFamily<NoLabels, Histogram>
    private let queueSize: MetricFamily<RequestLabels, Gauge>
    private let queueBytes: MetricFamily<RequestLabels, Gauge>

    private static let prefixes = ["inference_extension_flow_control_", "llm_d_epp_flow_control_"]

    private let pool: String

    /// - Parameter pool: the label `inference_pool`.
    package init(_ registry: MetricsRegistry, pool: String) {
        self.pool = pool
        let (old, new) = (Self.prefixes[0], Self.prefixes[1])
        let poolLabel = Exposure<RequestLabels>.Label("inference_pool") { _ in pool }
        let outcome = DetailedRequestLabels.detail("outcome")
        func twice<Labels>(_ name: String, help: String, _ labels: [Exposure<Labels>.Label]) -> (
            Exposure<Labels>, Exposure<Labels>
        ) {
            (Exposure(old + name, help: help, labels: labels), Exposure(new + name, help: help, labels: labels))
        }

        let waited = twice(
            "request_queue_duration_seconds",
            help: "Seconds that requests waited to be let in, by how that ended.",
            DetailedRequestLabels.lifted(RequestLabels.all + [poolLabel]) + outcome
        )
        queueDuration = registry.histogram(buckets: Buckets.queue, waited.0, waited.1)
        let entered = twice(
            "request_enqueue_duration_seconds",
            help: "Seconds that it took to let a request in, to queue or to refuse it.",
            DetailedRequestLabels.lifted(RequestLabels.flow) + outcome
        )
        enqueueDuration = registry.histogram(buckets: Buckets.scheduler, entered.0, entered.1)
        let cycles: (Exposure<NoLabels>, Exposure<NoLabels>) = twice(
            "dispatch_cycle_duration_seconds",
            help: "Seconds that it took to let waiting requests go after an event.",
            []
        )
        cycleDuration = registry.histogram(buckets: Buckets.scheduler, cycles.0, cycles.1)
        let sizes = twice("queue_size", help: "Requests that wait.", RequestLabels.all + [poolLabel])
        queueSize = registry.gauge(sizes.0, sizes.1)
        let bytes = twice("queue_bytes", help: "Bytes of the bodies that wait.", RequestLabels.all + [poolLabel])
        queueBytes = registry.gauge(bytes.0, bytes.1)
    }

    /// Exposes how full the pool is, read at each rendering; nil leaves it out.
    package func exposeSaturation(_ registry: MetricsRegistry, _ saturation: @escaping @Sendable () -> Double?) {
        for prefix in Self.prefixes {
            registry.computedGauge(prefix + "pool_saturation", help: "How full the pool is; 1 is full.") { [pool] in
                saturation().map { [.init(labels: [("inference_pool", pool)], value: $0)] } ?? []
            }
        }
    }

    /// A request asked to be let in, which took `nanoseconds`.
    package func entered(_ record: RequestRecord, outcome: String, nanoseconds: UInt64) {
        enqueueDuration.child(DetailedRequestLabels(request: record.labels, detail: outcome))
            .observe(nanoseconds: nanoseconds)
    }

    /// A request begins to wait.
    package func queued(_ record: RequestRecord, byteCount: Int) -> Place {
        let place = Place(
            size: queueSize.child(record.labels),
            bytes: queueBytes.child(record.labels),
            byteCount: byteCount
        )
        place.size.add(1)
        place.bytes.add(byteCount)
        return place
    }

    /// Its wait is over.
    package func left(_ place: Place) {
        place.size.add(-1)
        place.bytes.add(-place.byteCount)
    }

    /// Admission has ended for a request, after the time in `record.queueTime`.
    package func ended(_ record: RequestRecord, outcome: String) {
        queueDuration.child(DetailedRequestLabels(request: record.labels, detail: outcome))
            .observe(nanoseconds: record.queueTime)
    }

    package func cycled(nanoseconds: UInt64) {
        cycleDuration.only.observe(nanoseconds: nanoseconds)
    }
}
