import Admission
import Bytes
import EndpointPicker
import Pool
import Telemetry
import TestSupport
import Testing

/// Admission through the real gRPC server, with pinned metrics: each endpoint takes one request.
@Suite struct FlowControlTests {
    private static func settings(
        perEndpoint: Int = 1,
        _ configure: (inout FlowControlSettings) -> Void = { _ in }
    ) -> AdmissionSettings {
        var detector = ConcurrencyDetector()
        detector.maxConcurrency = perEndpoint
        var flowControl = FlowControlSettings()
        configure(&flowControl)
        return AdmissionSettings(detector: detector, flowControl: flowControl)
    }

    private static func request(_ objective: String = "", flow: String = "tenant") -> [EnvoyFrame] {
        [
            .requestHeaders([
                ("x-request-id", "id"), ("x-llm-d-inference-objective", objective),
                ("x-llm-d-inference-fairness-id", flow),
            ]),
            .requestBody(completion("hello", model: "m"), endOfStream: true),
        ]
    }

    private static let decided = routed(
        to: "192.168.1.1:8000",
        body: completion("hello", model: "m"),
        contentLength: false
    )

    @Test("A request that finds the pool full waits, and is routed when the one before has ended")
    func waits() async throws {
        try await withPicker([Pod(0, 0, 0)], admission: Self.settings()) { picker in
            let first = try await picker.begin(Self.request())
            let ofFirst = try await first.replies(2)
            #expect(ofFirst == Self.decided)
            let second = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            let body = completion("hello", model: "m").utf8.count
            #expect(picker.admission?.waiting.bytes == body)
            let labels =
                #"fairness_id="tenant",inference_pool="test-pool",model_name="m",priority="0",target_model_name="m""#
            for prefix in ["inference_extension", "llm_d_epp"] {
                #expect(picker.metrics.contains("\(prefix)_flow_control_queue_size{\(labels)} 1\n"))
                #expect(picker.metrics.contains("\(prefix)_flow_control_queue_bytes{\(labels)} \(body)\n"))
                #expect(
                    picker.metrics.contains("\(prefix)_flow_control_pool_saturation{inference_pool=\"test-pool\"} 1\n")
                )
            }
            await first.end()
            let ofSecond = try await second.replies(2)
            #expect(ofSecond == Self.decided)
            #expect(picker.metrics.contains("llm_d_epp_flow_control_queue_size{\(labels)} 0\n"))
            #expect(
                picker.metrics.contains(
                    #"llm_d_epp_flow_control_request_queue_duration_seconds_count{fairness_id="tenant",inference_pool="test-pool",model_name="m",outcome="Dispatched",priority="0",target_model_name="m"} 2"#
                )
            )
            await second.end()
        }
    }

    @Test("The objective's priority says who goes first")
    func priorities() async throws {
        let priorities = ["high": 10, "low": -5]
        try await withPicker([Pod(0, 0, 0)], admission: Self.settings(), priorities: priorities) { picker in
            let running = try await picker.begin(Self.request())
            _ = try await running.replies(2)
            let low = try await picker.begin(Self.request("low"))
            try await picker.waitUntil(waiting: 1)
            let regular = try await picker.begin(Self.request("unknown"))
            try await picker.waitUntil(waiting: 2)
            let high = try await picker.begin(Self.request("high"))
            try await picker.waitUntil(waiting: 3)
            await running.end()
            for (next, left) in [(high, 2), (regular, 1), (low, 0)] {
                let ofNext = try await next.replies(2)
                #expect(ofNext == Self.decided)
                #expect(picker.admission?.waiting.requests == left)
                await next.end()
            }
            #expect(
                picker.metrics.contains(
                    #"inference_objective_request_total{model_name="m",priority="10",target_model_name="m"} 1"#
                )
            )
        }
    }

    @Test("A full queue is 429, with the reason and when to come again; a sheddable one gives way")
    func queueFull() async throws {
        let settings = Self.settings { $0.maxRequests = 1 }
        try await withPicker([Pod(0, 0, 0)], admission: settings, priorities: ["low": -1]) { picker in
            let running = try await picker.begin(Self.request())
            _ = try await running.replies(2)
            let low = try await picker.begin(Self.request("low"))
            try await picker.waitUntil(waiting: 1)
            let refused = "inference error: ResourceExhausted - request rejected pre-queue: queue at capacity"
            let refusedLow = try await picker.exchange(Self.request("low"), replies: 1)
            #expect(
                refusedLow == [immediate(429, refused, reason: "rejected-saturated")]
            )
            let regular = try await picker.begin(Self.request())
            let ofLow = try await low.replies(1)
            #expect(
                ofLow == [
                    immediate(
                        429,
                        "inference error: ResourceExhausted - request evicted by flow control",
                        reason: "evicted-queue-pressure"
                    )
                ]
            )
            await running.end()
            let ofRegular = try await regular.replies(2)
            #expect(ofRegular == Self.decided)
            await regular.end()
        }
    }

    @Test("Who waits for too long gets 503")
    func timeToLive() async throws {
        let alarm = ManualAlarm(now: .now())
        let settings = Self.settings { $0.requestTTL = .seconds(5) }
        try await withPicker([Pod(0, 0, 0)], admission: settings, alarm: alarm) { picker in
            let running = try await picker.begin(Self.request())
            _ = try await running.replies(2)
            let waiting = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            alarm.advance(by: .seconds(5))
            let text = "inference error: ServiceUnavailable - request timed out in queue: its time to live is over"
            let ofWaiting = try await waiting.replies(1)
            #expect(ofWaiting == [immediate(503, text, reason: "rejected-ttl-expired")])
            await running.end()
        }
    }

    @Test("An empty pool is 503: after a wait for an endpoint with flow control, at once without")
    func emptyPool() async throws {
        let text = "inference error: ServiceUnavailable - failed to find endpoint candidates for serving the request"
        let refusal = immediate(503, text, reason: "rejected-no-endpoints")
        let alarm = ManualAlarm(now: .now())
        try await withPicker([], admission: Self.settings(), alarm: alarm, priorities: ["low": -1]) { picker in
            let waiting = try await picker.begin(Self.request("low"))
            try await picker.waitUntil(waiting: 1)
            alarm.advance(by: .seconds(60))
            let afterWaiting = try await waiting.replies(1)
            #expect(afterWaiting == [refusal])
            let patient = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            picker.pool.replaceEndpoints([Pod(0, 0, 0).description])
            let ofPatient = try await patient.replies(2)
            #expect(ofPatient == Self.decided)
            await patient.end()
        }
        try await withPicker([], admission: AdmissionSettings(), priorities: ["low": -1]) { picker in
            let ofLow = try await picker.exchange(Self.request("low"), replies: 1)
            #expect(ofLow == [refusal])
        }
    }

    @Test("Without flow control a sheddable request is dropped while the pool is saturated, and nobody else")
    func legacyRule() async throws {
        var detector = UtilizationDetector()
        detector.metricsStalenessThreshold = .seconds(3600)
        let settings = AdmissionSettings(detector: detector)
        try await withPicker([Pod(0, 5, 0)], admission: settings, priorities: ["low": -1]) { picker in
            let text = "inference error: ResourceExhausted - system saturated, sheddable request dropped"
            let ofLow = try await picker.exchange(Self.request("low"), replies: 1)
            #expect(
                ofLow == [immediate(429, text, reason: "rejected-saturated")]
            )
            let ofRegular = try await picker.exchange(Self.request(), replies: 2)
            #expect(ofRegular == Self.decided)
            picker.pool.set([Pod(0, 4, 0)])
            let ofLowLater = try await picker.exchange(Self.request("low"), replies: 2)
            #expect(ofLowLater == Self.decided)
        }
    }

    @Test("Who hangs up leaves the queue at once, whether its stream is reset or closed in good order")
    func hangUp() async throws {
        try await withPicker([Pod(0, 0, 0)], admission: Self.settings()) { picker in
            let running = try await picker.begin(Self.request())
            _ = try await running.replies(2)
            let reset = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            reset.cancel()
            try await picker.waitUntil(waiting: 0)
            let closed = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            await closed.halfClose()
            try await picker.waitUntil(waiting: 0)
            let next = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            await running.end()
            let ofNext = try await next.replies(2)
            #expect(ofNext == Self.decided)
            await next.end()
        }
    }

    @Test("A stray message while a request waits does not cost it its place")
    func strayMessage() async throws {
        try await withPicker([Pod(0, 0, 0)], admission: Self.settings()) { picker in
            let running = try await picker.begin(Self.request())
            _ = try await running.replies(2)
            let waiting = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            await waiting.send(EnvoyFrame.requestBody("", endOfStream: true).bytes)
            await running.end()
            let ofWaiting = try await waiting.replies(2)
            #expect(ofWaiting == Self.decided)
            await waiting.end()
        }
    }

    @Test("With eviction, the newest sheddable request gives way before its response has begun, and gets 429")
    func calledBack() async throws {
        let settings = Self.settings(perEndpoint: 3) { $0.evictsDispatched = true }
        try await withPicker([Pod(0, 0, 0)], admission: settings, priorities: ["low": -1]) { picker in
            let regular = try await picker.begin(Self.request())
            _ = try await regular.replies(2)
            let older = try await picker.begin(Self.request("low"))
            _ = try await older.replies(2)
            let answered = try await picker.begin(Self.request("low"))
            _ = try await answered.replies(2)
            await answered.send(EnvoyFrame.responseHeaders([(":status", "200")]).bytes)
            _ = try await answered.replies(1)

            let urgent = try await picker.begin(Self.request())
            let ofOlder = try await older.replies(1)
            let text = "inference error: ResourceExhausted - request evicted by flow control"
            #expect(ofOlder == [immediate(429, text, reason: "evicted")])
            let ofUrgent = try await urgent.replies(2)
            #expect(ofUrgent == Self.decided)
            // The other one has begun its response, and those of priority 0 are never called back.
            let waiting = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            await answered.end()
            let ofWaiting = try await waiting.replies(2)
            #expect(ofWaiting == Self.decided)
            for stream in [regular, urgent, waiting] { await stream.end() }
        }
    }

    @Test("Draining sends away who waits and who would have to")
    func drain() async throws {
        try await withPicker([Pod(0, 0, 0)], admission: Self.settings()) { picker in
            let running = try await picker.begin(Self.request())
            _ = try await running.replies(2)
            let waiting = try await picker.begin(Self.request())
            try await picker.waitUntil(waiting: 1)
            picker.admission?.drain()
            let text = "inference error: ServiceUnavailable - the endpoint picker is shutting down"
            let refusal = immediate(503, text, reason: "rejected-shutting-down")
            let ofWaiting = try await waiting.replies(1)
            #expect(ofWaiting == [refusal])
            let ofNewcomer = try await picker.exchange(Self.request(), replies: 1)
            #expect(ofNewcomer == [refusal])
            await running.end()
        }
    }

    @Test("Many at once never fill the pool beyond its capacity, and all are routed")
    func burst() async throws {
        try await withPicker([Pod(0, 0, 0), Pod(1, 0, 0)], admission: Self.settings(perEndpoint: 2)) { picker in
            let replies = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<60 {
                    group.addTask {
                        let stream = try await picker.begin(Self.request())
                        let replies = try await stream.replies(2)
                        #expect(picker.inFlight.reduce(0, +) <= 4)
                        await stream.end()
                        return replies.count
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(replies == 120)
            #expect(picker.admission?.waiting.requests == 0)
        }
    }
}

extension TestPicker {
    /// Sends frames on a stream that stays open.
    func begin(_ frames: [EnvoyFrame]) async throws -> GRPCClientCall {
        let stream = client.call(ExternalProcessor.method, timeout: .seconds(120))
        for frame in frames { await stream.send(frame.bytes) }
        return stream
    }

    func waitUntil(waiting count: Int) async throws {
        for _ in 0..<20_000 where admission?.waiting.requests != count {
            try await Task.sleep(for: .microseconds(500))
        }
        #expect(admission?.waiting.requests == count)
    }
}

extension GRPCClientCall {
    /// Ends the exchange as Envoy does and waits until the picker has let it go.
    func end() async {
        await halfClose()
        _ = await status()
    }
}
