import Foundation
import TestSupport
import Testing

/// An OTLP collector that keeps the spans it gets.
private final class Collector: Sendable {
    let server: RawServer
    private let bodies: AsyncStream<String>

    init() throws {
        let (bodies, continuation) = AsyncStream.makeStream(of: String.self)
        self.bodies = bodies
        server = try RawServer { connection in
            while let request = try await connection.request() {
                if request.head.hasPrefix("POST /v1/traces ") { continuation.yield(request.body) }
                try await connection.respond(body: "{}")
            }
        }
    }

    /// Waits for a span of a request.
    func spans(of requestID: String, count: Int) async throws -> [JSON] {
        var all: [JSON] = []
        for await body in bodies {
            all += try JSON(text: body)["resourceSpans"][0]["scopeSpans"][0]["spans"].array
            let root = all.first { span in
                span["attributes"].array.contains { $0["value"]["stringValue"].string == requestID }
            }
            let found = all.filter { $0["traceId"].string == root?["traceId"].string }
            if root != nil, found.count >= count { return found }
        }
        throw TestFailure("the collector has ended")
    }
}

@Suite("Traces", .serialized, .showsLogs)
struct TracingTests {
    @Test("A client's trace goes on through Apus to the model server, and its spans reach the collector")
    func joined() async throws {
        let collector = try Collector()
        var plan = Deployment.Plan(servers: 1)
        plan.environment = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(collector.server.port)"]
        try await withDeployment(plan) { deployment in
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            let (id, response) = try await deployment.send(Ask.completion(headers: [("traceparent", parent)]))
            #expect(response.status == 200)
            let spans = try await collector.spans(of: id, count: 2)
            let request = try #require(spans.first { $0["name"].string == "gateway.request" })
            #expect(request["traceId"].string == "0af7651916cd43dd8448eb211c80319c")
            #expect(request["parentSpanId"].string == "b7ad6b7169203331")
            let span = try #require(request["spanId"].string)
            let arrived = try await deployment.arrival(id).request.header("traceparent")
            #expect(arrived == ["00-0af7651916cd43dd8448eb211c80319c-\(span)-01"])
        }
    }

    @Test(
        "Every leg has a span of its own, which is the parent of what the model server tells",
        arguments: Disaggregated.Mode.allCases
    )
    func legs(_ mode: Disaggregated.Mode) async throws {
        let collector = try Collector()
        var plan = Disaggregated.Plan(.nixlv2, mode)
        plan.environment = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(collector.server.port)"]
        try await withDisaggregated(plan) { deployment in
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            let (id, response) = try await deployment.send(
                Ask.completion(headers: [("traceparent", parent)]),
                fault: "prefill-503,attempt=1"
            )
            #expect(response.status == 200)
            let spans = try await collector.spans(of: id, count: 5)
            let request = try #require(spans.first { $0["name"].string == "gateway.request" })
            let legs = spans.filter { $0["name"].string == "apus.leg" }
            #expect(legs.count == 3)
            #expect(legs.allSatisfy { $0["parentSpanId"].string == request["spanId"].string })
            #expect(Set(legs.map { $0["spanId"].string }).count == 3)
            var parents: Set<String> = []
            for leg in try await deployment.legs(of: id) {
                for arrival in try await deployment.arrivals(of: id, server: leg.server) {
                    for field in arrival.header("traceparent") {
                        let parts = field.split(separator: "-")
                        #expect(parts.count == 4 && parts[1] == "0af7651916cd43dd8448eb211c80319c")
                        if parts.count == 4 { parents.insert(String(parts[2])) }
                    }
                }
            }
            #expect(parents == Set(legs.compactMap { $0["spanId"].string }))
        }
    }

    @Test("Without an exporter a client's traceparent passes unchanged")
    func untouched() async throws {
        try await withDeployment(.init(servers: 1)) { deployment in
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            let (id, _) = try await deployment.send(Ask.completion(headers: [("traceparent", parent)]))
            #expect(try await deployment.arrival(id).request.header("traceparent") == [parent])
        }
    }

    @Test("A collector that is not there harms no request, and the last spans are sent at the end")
    func unreachable() async throws {
        let dead = try Socket.refusing()
        defer { withExtendedLifetime(dead) {} }
        var plan = Deployment.Plan(servers: 1)
        plan.environment = [
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(dead.port)", "OTEL_TRACES_SAMPLER": "always_on",
        ]
        try await withDeployment(plan) { deployment in
            for _ in 0..<5 { #expect(try await deployment.send(Ask.completion()).response.status == 200) }
            _ = try await deployment.apus.process.waitForLine(containing: "traces cannot be exported")
            try await eventually("dropped spans are counted") {
                try await deployment.apus.metric("apus_trace_dropped_spans") ?? 0 >= 2
            }
        }
    }

    @Test("Spans go to a collector behind TLS whose authority is named, and to no other")
    func overTLS() async throws {
        let files = try TLSFiles()
        let pair = try TLSFiles.serverPair()
        try files.write(certificateOf: pair)
        try files.write(keyOf: pair)
        let certificate = "\(files.directory.path)/tls.crt"
        let tls = try ServerTLS(certificateFile: certificate, keyFile: "\(files.directory.path)/tls.key")
        let collector = try FakeHTTPServer(tls: tls) { _ in .text("{}") }
        var plan = Deployment.Plan(servers: 1)
        plan.environment = [
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:\(collector.port)",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": certificate, "OTEL_TRACES_SAMPLER": "always_on",
        ]
        try await withDeployment(plan) { deployment in
            let status = try await deployment.client.send(Ask.completion()).status
            #expect(status == 200)
            await collector.events.wait { events in
                events.contains { if case .request(_, "/v1/traces") = $0 { true } else { false } }
            }
        }
        plan.environment["OTEL_EXPORTER_OTLP_CERTIFICATE"] = nil
        try await withDeployment(plan) { deployment in
            let status = try await deployment.client.send(Ask.completion()).status
            #expect(status == 200)
            _ = try await deployment.apus.process.waitForLine(containing: "traces cannot be exported")
        }
    }
}
