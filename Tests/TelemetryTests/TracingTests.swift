import Bytes
import Foundation
import Testing

@testable import Telemetry

private let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

private func tracer(_ environment: [String: String] = [:]) throws -> Tracer {
    let all = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"].merging(environment) { $1 }
    return Tracer(try #require(TracingSettings(environment: { all[$0] }, version: "1")))
}

@Suite("Trace context")
struct TraceContextTests {
    @Test("A traceparent is joined: its trace goes on, with our span in the parent's place and the same flag")
    func joins() throws {
        var generator = SeededGenerator(seed: 1)
        let tracer = try tracer()
        let trace = tracer.begin(joining: parent, using: &generator)
        #expect(trace.isSampled)
        #expect(trace.header.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-"))
        #expect(trace.header.hasSuffix("-01"))
        #expect(trace.header != parent)
        #expect(TraceParent(trace.header)?.spanID == trace.spanID)
        #expect(TraceContext.hex(trace.parentID) == "b7ad6b7169203331")
        let unsampled = tracer.begin(joining: parent.dropLast() + "0", using: &generator)
        #expect(!unsampled.isSampled)
        #expect(unsampled.header.hasSuffix("-00"))
    }

    @Test(
        "What is no traceparent begins a trace of its own",
        arguments: [
            "", "00", parent.uppercased(), "ff" + parent.dropFirst(2), parent + "-more", String(parent.dropLast()),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", parent.replacing("-", with: "_"),
            "01" + parent.dropFirst(2) + ".", "0g" + parent.dropFirst(2),
        ]
    )
    func invalid(header: String) throws {
        #expect(TraceParent(header) == nil)
        var generator = SeededGenerator(seed: 1)
        let trace = try tracer().begin(joining: header, using: &generator)
        #expect(trace.parentID == 0)
        #expect(TraceParent(trace.header) != nil)
    }

    @Test("A version to come may carry more")
    func laterVersion() {
        #expect(TraceParent("01" + parent.dropFirst(2) + "-more")?.isSampled == true)
    }
}

@Suite("Sampling")
struct SamplerTests {
    @Test("The ratio counts only where no parent has decided, unless the sampler follows none")
    func parents() throws {
        let sampled = try #require(TraceParent(parent))
        let never = try #require(TraceSampler(name: "", argument: "0"))
        #expect(never.samples(traceLow: 0, parent: sampled))
        #expect(!never.samples(traceLow: 0, parent: nil))
        let own = try #require(TraceSampler(name: "traceidratio", argument: "0"))
        #expect(!own.samples(traceLow: 0, parent: sampled))
        #expect(try #require(TraceSampler(name: "always_on", argument: "")).samples(traceLow: .max, parent: nil))
    }

    @Test("About as many traces are sampled as the ratio says", arguments: [0.0, 0.1, 0.5, 1.0])
    func ratios(ratio: Double) throws {
        let sampler = try #require(TraceSampler(name: "traceidratio", argument: "\(ratio)"))
        var generator = SeededGenerator(seed: 3)
        let sampled = (0..<10_000).count { _ in sampler.samples(traceLow: generator.next(), parent: nil) }
        #expect(abs(Double(sampled) / 10_000 - ratio) < 0.02)
    }

    @Test("Unknown samplers and ratios are none", arguments: [("xray", ""), ("", "2"), ("", "-0.1"), ("", "nan")])
    func unknown(name: String, argument: String) {
        #expect(TraceSampler(name: name, argument: argument) == nil)
    }
}

@Suite("Tracing by the environment")
struct TracingSettingsTests {
    private func settings(_ environment: [String: String]) -> TracingSettings? {
        TracingSettings(environment: { environment[$0] }, version: "1")
    }

    @Test("Without an endpoint, or switched off, there is none")
    func off() {
        let endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"]
        #expect(settings([:]) == nil)
        #expect(settings(endpoint.merging(["OTEL_TRACES_EXPORTER": "console"]) { $1 }) == nil)
        #expect(settings(endpoint.merging(["OTEL_SDK_DISABLED": "true"]) { $1 }) == nil)
        #expect(settings(endpoint) != nil)
    }

    @Test("The path belongs to the general endpoint only")
    func urls() {
        #expect(settings(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"])?.url == "http://c:4318/v1/traces")
        #expect(settings(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/x/"])?.url == "http://c:4318/x/v1/traces")
        #expect(settings(["OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"])?.url == "http://c:4318/v1/traces")
        let both = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/own"]
        #expect(settings(both)?.url == "http://t/own")
    }

    @Test("gRPC's port or protocol is warned of, and so is an unknown sampler")
    func warnings() {
        #expect(settings(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"])?.warnings.count == 1)
        let unknown = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_SAMPLER": "xray"]
        #expect(settings(unknown)?.warnings.count == 1)
        #expect(settings(unknown)?.sampler == .standard)
    }

    @Test("Names, headers and attributes are taken over")
    func names() throws {
        let environment = [
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SERVICE_NAME": "mine", "POD_NAME": "p",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=b=c, d = e%20f%,broken", "OTEL_RESOURCE_ATTRIBUTES": "x=1,service.name=no",
        ]
        let read = try #require(settings(environment))
        #expect(read.headers.map(\.name) == ["a", "d"])
        #expect(read.headers.map(\.value) == ["b=c", "e f%"])
        #expect(read.resource.map(\.name) == ["service.name", "service.version", "k8s.pod.name", "x"])
        #expect(read.resource.map(\.value) == ["mine", "1", "p", "1"])
        let specific = environment.merging(["OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x=y"]) { $1 }
        #expect(try #require(settings(specific)).headers.map(\.name) == ["x"])
    }
}

@Suite("Spans")
struct SpanTests {
    private func finished(_ telemetry: Telemetry, _ tracer: Tracer, decided: Bool = true) {
        var generator = SeededGenerator(seed: 5)
        let record = telemetry.begin(receivedAt: 1000)
        record.trace = tracer.begin(joining: parent, using: &generator)
        record.method = "POST"
        record.path = "/v1/completions?key=secret"
        record.requestID = "id \"1\""
        record.model = "m"
        record.targetModel = "m-1"
        record.bodyCompleteAt = 2000
        if decided { record.decidedAt = 3000 }
        record.status = 200
        record.usage = RequestRecord.Usage(promptTokens: 7, completionTokens: 9)
        record.finishedAt = 9000
        telemetry.finish(record, .complete)
    }

    private func object(_ value: Any?) -> [String: Any] { value as? [String: Any] ?? [:] }
    private func list(_ value: Any?) -> [[String: Any]] { value as? [[String: Any]] ?? [] }

    private func attributes(_ value: Any?) -> [String: String] {
        Dictionary(
            list(value).map { attribute in
                let value = object(attribute["value"])
                return (
                    attribute["key"] as? String ?? "",
                    value["stringValue"] as? String ?? value["intValue"] as? String ?? ""
                )
            },
            uniquingKeysWith: { $1 }
        )
    }

    @Test("A request makes two spans, the second within the first, as OTLP's JSON has them")
    func spans() throws {
        let tracer = try tracer()
        finished(Telemetry(tracer: tracer), tracer)
        let batch = try #require(tracer.takeBatch())
        #expect(batch.count == 2)
        let root = try object(JSONSerialization.jsonObject(with: Data(batch.body)))
        let resource = try #require(list(root["resourceSpans"]).first)
        #expect(
            attributes(object(resource["resource"])["attributes"])["service.name"]
                == "gateway-api-inference-extension/epp"
        )
        let spans = list(list(resource["scopeSpans"]).first?["spans"])
        try #require(spans.count == 2)
        let (request, orchestration) = (spans[0], spans[1])
        #expect(request["name"] as? String == "gateway.request")
        #expect(request["kind"] as? Int == 2)
        #expect(request["traceId"] as? String == "0af7651916cd43dd8448eb211c80319c")
        #expect(request["parentSpanId"] as? String == "b7ad6b7169203331")
        #expect(orchestration["name"] as? String == "gateway.request_orchestration")
        #expect(orchestration["traceId"] as? String == "0af7651916cd43dd8448eb211c80319c")
        #expect(orchestration["parentSpanId"] as? String == request["spanId"] as? String)
        #expect(orchestration["spanId"] as? String != request["spanId"] as? String)

        func time(_ span: [String: Any], _ name: String) -> UInt64 { UInt64(span[name] as? String ?? "") ?? 0 }
        let start = time(request, "startTimeUnixNano")
        #expect(time(request, "endTimeUnixNano") - start == 8000)
        #expect(time(orchestration, "startTimeUnixNano") - start == 1000)
        #expect(time(orchestration, "endTimeUnixNano") - start == 2000)

        let told = attributes(request["attributes"])
        #expect(told["http.request.method"] == "POST")
        #expect(told["url.path"] == "/v1/completions")
        #expect(told["http.response.status_code"] == "200")
        #expect(told["gen_ai.request.model"] == "m")
        #expect(told["gen_ai.usage.input_tokens"] == "7")
        #expect(told["gen_ai.usage.output_tokens"] == "9")
        #expect(told["apus.request_id"] == "id \"1\"")
        #expect(attributes(orchestration["attributes"]) == ["target_model": "m-1", "request_prio": "0"])
        #expect(tracer.takeBatch() == nil)
    }

    @Test("A request without a decision has one span, and one that is not sampled none")
    func fewer() throws {
        let tracer = try tracer()
        let telemetry = Telemetry(tracer: tracer)
        finished(telemetry, tracer, decided: false)
        #expect(tracer.takeBatch()?.count == 1)
        let unsampled = telemetry.begin()
        var generator = SeededGenerator(seed: 5)
        unsampled.trace = tracer.begin(joining: parent.dropLast() + "0", using: &generator)
        telemetry.finish(unsampled, .complete)
        #expect(tracer.takeBatch() == nil)
    }

    @Test("What nobody fetches is bounded, and what is dropped is counted")
    func bounded() throws {
        let tracer = try tracer()
        let telemetry = Telemetry(tracer: tracer)
        for _ in 0..<Tracer.capacity { finished(telemetry, tracer) }
        #expect(tracer.droppedSpans == Tracer.capacity)
        var fetched = 0
        while let batch = tracer.takeBatch() {
            #expect(batch.count <= Tracer.batchSize)
            fetched += batch.count
            tracer.exported(batch.count, fetched > Tracer.batchSize)
        }
        #expect(fetched == Tracer.capacity)
        #expect(tracer.exportedSpans == Tracer.capacity - Tracer.batchSize)
        #expect(tracer.droppedSpans == Tracer.capacity + Tracer.batchSize)
    }
}
