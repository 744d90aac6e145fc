import Bytes
import Testing

@testable import Telemetry

private struct Pair: MetricLabels {
    var a: String
    var b: String
    static var overflow: Pair { Pair(a: "other", b: "other") }
}

private func text(_ registry: MetricsRegistry) -> String {
    var bytes: [UInt8] = []
    registry.render(into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
}

@Suite("Metrics")
struct MetricsTests {
    @Test("A counter is rendered with help, type and labels sorted by name")
    func counterText() {
        let registry = MetricsRegistry()
        let family = registry.counter(
            Exposure<Pair>("b_total", help: "Two\nlines.", labels: [.init("zeta") { $0.a }, .init("alpha") { $0.b }])
        )
        family.child(Pair(a: "1", b: "2")).add()
        family.child(Pair(a: "1", b: "1")).add(41)
        #expect(
            text(registry) == """
                # HELP b_total Two\\nlines.
                # TYPE b_total counter
                b_total{alpha="1",zeta="1"} 41
                b_total{alpha="2",zeta="1"} 1

                """
        )
    }

    @Test("Label values are escaped; families come in the order of their names, empty ones not at all")
    func escapesAndOrder() {
        let registry = MetricsRegistry()
        let last = registry.gauge(Exposure<NoLabels>("z", help: "Z."))
        let first = registry.gauge(Exposure<OneLabel>("a", help: "A.", labels: OneLabel.named("l")))
        _ = registry.counter(Exposure<NoLabels>("m_total", help: "Never counted."))
        last.only.add(-2)
        first.child(OneLabel("\"\\\n")).set(7)
        #expect(
            text(registry) == """
                # HELP a A.
                # TYPE a gauge
                a{l="\\"\\\\\\n"} 7
                # HELP z Z.
                # TYPE z gauge
                z -2

                """
        )
    }

    @Test("One sample is exposed under several names, and a name with fewer labels shows the sum")
    func aliases() {
        let registry = MetricsRegistry()
        let family = registry.counter(
            Exposure<Pair>("new_total", help: "N.", labels: [.init("a") { $0.a }, .init("b") { $0.b }]),
            Exposure<Pair>("old_total", help: "O.", labels: [.init("pod") { $0.a }])
        )
        family.child(Pair(a: "x", b: "1")).add(2)
        family.child(Pair(a: "x", b: "2")).add(3)
        family.child(Pair(a: "y", b: "1")).add(1)
        let page = text(registry)
        #expect(page.contains("new_total{a=\"x\",b=\"2\"} 3\n"))
        #expect(page.contains("TYPE old_total counter\nold_total{pod=\"x\"} 5\nold_total{pod=\"y\"} 1\n"))
    }

    @Test("A histogram counts a value in the bucket whose bound it does not exceed")
    func histogramText() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram(
            buckets: [0.1, 1, 1_048_576],
            Exposure<NoLabels>("h", help: "H.")
        ).only
        for value in [0.1, 0.11, 1, 2e6, .nan] { histogram.observe(value) }
        histogram.observe(nanoseconds: 500_000_000)
        #expect(
            text(registry) == """
                # HELP h H.
                # TYPE h histogram
                h_bucket{le="0.1"} 1
                h_bucket{le="1"} 4
                h_bucket{le="1.048576e+06"} 4
                h_bucket{le="+Inf"} 5
                h_sum 2.00000171e+06
                h_count 5

                """
        )
    }

    @Test("Histograms that one name does not tell apart are added up")
    func mergedHistogram() {
        let registry = MetricsRegistry()
        let family = registry.histogram(
            buckets: [1],
            Exposure<Pair>("h", help: "H.", labels: [.init("a") { $0.a }])
        )
        family.child(Pair(a: "x", b: "1")).observe(0.5)
        family.child(Pair(a: "x", b: "2")).observe(4)
        let page = text(registry)
        #expect(page.contains("h_bucket{a=\"x\",le=\"1\"} 1\nh_bucket{a=\"x\",le=\"+Inf\"} 2\n"))
        #expect(page.contains("h_sum{a=\"x\"} 4.5\nh_count{a=\"x\"} 2\n"))
    }

    @Test(
        "Numbers are written as Go's client writes them",
        arguments: [
            (0, "0"), (1, "1"), (-2.5, "-2.5"), (0.00205, "0.00205"), (0.0001, "0.0001"), (0.00001, "1e-05"),
            (100_000, "100000"), (131_072, "131072"), (1_000_000, "1e+06"), (1_073_741_824, "1.073741824e+09"),
            (12.75, "12.75"), (1e22, "1e+22"), (1.5e-7, "1.5e-07"), (.infinity, "+Inf"), (-.infinity, "-Inf"),
            (3600, "3600"),
        ] as [(Double, String)]
    )
    func numbers(value: Double, expected: String) {
        var bytes: [UInt8] = []
        bytes.append(prometheus: value)
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
    }

    @Test("A family has at most 1000 children; what comes later is counted under other")
    func cardinalityBound() {
        let registry = MetricsRegistry()
        let family = registry.counter(Exposure<OneLabel>("c_total", help: "C.", labels: OneLabel.named("l")))
        for number in 0..<1500 { family.child(OneLabel("v\(number)")).add() }
        family.child(OneLabel("v7")).add()
        let lines = text(registry).split(separator: "\n")
        #expect(lines.count == 2 + 1001)
        #expect(lines.contains("c_total{l=\"other\"} 500"))
        #expect(lines.contains("c_total{l=\"v7\"} 2"))
    }

    @Test("A label value of more than 256 bytes is other")
    func longValues() {
        #expect(OneLabel(String(repeating: "x", count: 256)).value.utf8.count == 256)
        #expect(OneLabel(String(repeating: "x", count: 257)).value == "other")
    }

    @Test(
        "Fairness ids beyond the bound are other, and the model keeps all its requests, however many a client invents"
    )
    func fairnessIDsDoNotHideModels() {
        let metrics = PickerMetrics()
        for number in 0..<1500 {
            let labels = RequestLabels(model: "m", targetModel: "t", fairnessID: "f\(number)", priority: 0)
            let series = metrics.requestSeries(labels)
            series.total.add()
            series.timeToFirstToken(streaming: number.isMultiple(of: 2)).observe(1)
        }
        let late = RequestLabels(model: "late", targetModel: "t", fairnessID: "new", priority: 3)
        metrics.requestSeries(late).total.add()
        let page = text(metrics.registry)
        let models = "model_name=\"m\",priority=\"0\",target_model_name=\"t\""
        #expect(page.contains("inference_objective_request_total{\(models)} 1500\n"))
        #expect(
            page.contains(
                "inference_objective_request_ttft_seconds_count{model_name=\"m\",target_model_name=\"t\"} 1500\n"
            )
        )
        #expect(page.contains("llm_d_epp_request_total{fairness_id=\"f7\",\(models)} 1\n"))
        #expect(page.contains("llm_d_epp_request_total{fairness_id=\"other\",\(models)} 500\n"))
        // A model that comes after all that is still told apart.
        #expect(
            page.contains(
                "inference_objective_request_total{model_name=\"late\",priority=\"3\",target_model_name=\"t\"} 1\n"
            )
        )
    }

    @Test("Models beyond the bound do not hide what went wrong, nor where requests went")
    func modelsDoNotHideDetails() {
        let metrics = PickerMetrics()
        for number in 0..<3000 {
            let labels = RequestLabels(model: "m\(number)", targetModel: "t", fairnessID: "f", priority: 0)
            metrics.errors.child(DetailedRequestLabels(request: labels, detail: "ModelServerError")).add()
            metrics.attempts.child(
                AttemptLabels(success: true, targetModel: "m\(number)", endpoint: "e", namespace: "n", port: "1")
            ).add()
        }
        let page = text(metrics.registry)
        #expect(
            page.contains(
                "error_total{error_code=\"ModelServerError\",model_name=\"other\",target_model_name=\"other\"} 1000\n"
            )
        )
        #expect(
            page.contains(
                "pod_name=\"e\",port=\"1\",status=\"success\",target_model_name=\"other\"} 2000\n"
            )
        )
        // The bound: 1000 of each step, and the details of what has no room.
        #expect(page.split(separator: "\n").count { $0.hasPrefix("llm_d_epp_request_error_total{") } == 2001)
    }

    @Test("The metrics of requests are bounded by their labels too")
    func requestSeriesBound() {
        let metrics = PickerMetrics()
        for number in 0..<2200 {
            let labels = RequestLabels(model: "m\(number)", targetModel: "t", fairnessID: "f", priority: 0)
            metrics.requestSeries(labels).total.add()
        }
        #expect(metrics.requestSeries(.overflow).total.read() == 200)
        #expect(RequestLabels.overflow.priorityText == "other")
    }

    @Test("The process tells its CPU, memory, descriptors and start, under Prometheus' names")
    func process() throws {
        let registry = MetricsRegistry()
        registry.exposeProcess()
        let lines = text(registry).split(separator: "\n")
        for (name, least) in [
            ("process_cpu_seconds_total", 0.0), ("process_resident_memory_bytes", 1e6), ("process_max_fds", 3),
            ("process_virtual_memory_bytes", 1e6), ("process_open_fds", 1), ("process_start_time_seconds", 1.5e9),
        ] {
            let line = try #require(lines.first { $0.hasPrefix(name + " ") }, "\(name)")
            #expect(try #require(Double(line.dropFirst(name.utf8.count + 1))) >= least)
        }
        #expect(lines.contains("# TYPE process_cpu_seconds_total counter"))
    }

    @Test("The fields of /proc are found behind whatever name the program has")
    func processName() throws {
        let rest = (3...52).map { "\($0)" }.joined(separator: " ")
        let reading = try #require(ProcessReading(stat: "1 (a) b (c)) \(rest)\n", bootedAt: 1_000))
        #expect(reading.virtualBytes == 23)
        #expect((reading.cpuSeconds * 100).rounded() == 29)
        #expect(ProcessReading(stat: "1 (a) 3 4", bootedAt: 0) == nil)
        #expect(ProcessReading(stat: "", bootedAt: 0) == nil)
    }

    @Test("Counts are exact under threads")
    func concurrency() async {
        let registry = MetricsRegistry()
        let counter = registry.counter(Exposure<OneLabel>("c_total", help: "C.", labels: OneLabel.named("l")))
        let histogram = registry.histogram(buckets: [1, 2], Exposure<NoLabels>("h", help: "H.")).only
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for number in 0..<2000 {
                        counter.child(OneLabel("\((number + task) % 3)")).add()
                        histogram.observe(2)
                        if number % 500 == 0 { _ = text(registry) }
                    }
                }
            }
        }
        #expect((0..<3).map { counter.child(OneLabel("\($0)")).read() }.reduce(0, +) == 16_000)
        let reading = histogram.read()
        #expect(reading.buckets == [0, 16_000, 0])
        #expect(reading.sum == 32_000)
        #expect(reading.count == 16_000)
    }

    @Test("The pool's gauges are computed when the page is rendered, under both vocabularies")
    func poolGauges() {
        let metrics = PickerMetrics()
        let waiting = Lock(3)
        metrics.exposePool {
            PoolReading(
                name: "pool",
                endpoints: [
                    .init(name: "a", waitingQueueSize: waiting.withLock { $0 }, runningRequests: 4, kvCacheUsage: 0.25),
                    .init(name: "b", waitingQueueSize: 1, runningRequests: 0, kvCacheUsage: 0.75),
                ]
            )
        }
        waiting.withLock { $0 = 5 }
        let page = text(metrics.registry)
        for line in [
            "inference_pool_average_kv_cache_utilization{name=\"pool\"} 0.5",
            "inference_pool_average_queue_size{name=\"pool\"} 3",
            "llm_d_epp_average_running_requests{name=\"pool\"} 2",
            "llm_d_epp_std_dev_queue_size{name=\"pool\"} 2",
            "inference_pool_ready_pods{name=\"pool\"} 2",
            "llm_d_epp_ready_endpoints{name=\"pool\"} 2",
            "inference_pool_per_pod_queue_size{model_server_pod=\"a\",name=\"pool\"} 5",
            "llm_d_epp_per_endpoint_queue_size{model_server_endpoint=\"b\",name=\"pool\"} 1",
        ] {
            #expect(page.contains("\n" + line + "\n"), "\(line)")
        }
    }

    @Test("An empty pool has gauges of zero")
    func emptyPool() {
        let metrics = PickerMetrics()
        metrics.exposePool { PoolReading(name: "p", endpoints: []) }
        let page = text(metrics.registry)
        #expect(page.contains("inference_pool_ready_pods{name=\"p\"} 0\n"))
        #expect(page.contains("inference_pool_average_queue_size{name=\"p\"} 0\n"))
    }
}
