import Bytes
import Foundation
import TestSupport
import Testing

/// An Envoy that sends everything to one port, without Apus.
private func directEnvoy(to port: Int) async throws -> EnvoyProcess {
    try await EnvoyProcess(
        .text(
            """
            admin:
              address: {socket_address: {address: 127.0.0.1, port_value: 0}}
            static_resources:
              listeners:
              - name: direct
                address: {socket_address: {address: 127.0.0.1, port_value: 0}}
                filter_chains:
                - filters:
                  - name: envoy.filters.network.http_connection_manager
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: direct
                      http_protocol_options: {enable_trailers: true}
                      http_filters:
                      - name: envoy.filters.http.router
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                      route_config:
                        virtual_hosts:
                        - {name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: server}}]}
              clusters:
              - name: server
                type: STATIC
                load_assignment:
                  cluster_name: server
                  endpoints:
                  - lb_endpoints:
                    - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(port)}}}
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: {http_protocol_options: {enable_trailers: true}}
            """
        )
    )
}

/// What one side of a test tells the other once.
private final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }
    func raise() { continuation.finish() }
    func wait() async { for await _ in stream {} }
}

@Suite("The harness with a real Envoy", .serialized)
struct EnvoyHarnessTests {
    @Test("A request goes through Envoy with its body and its repeated headers, and the response comes back")
    func plain() async throws {
        let heads = Lock<[String]>([])
        let server = try RawServer { connection in
            while let request = try await connection.request() {
                heads.withLock { $0.append(request.head) }
                try await connection.respond(headers: [("x-multi", "1"), ("x-multi", "2")], body: "<\(request.body)>")
            }
        }
        let envoy = try await directEnvoy(to: server.port)
        let response = try await envoy.client().send(
            .post("/v1/completions?a=b", json: #"{"model":"m"}"#, headers: [("x-many", "a"), ("x-many", "b")])
        )
        #expect(response.status == 200)
        #expect(response.text == #"<{"model":"m"}>"#)
        #expect(response.headers.all("x-multi") == ["1", "2"])
        let head = try #require(heads.withLock { $0.first })
        #expect(head.hasPrefix("POST /v1/completions?a=b HTTP/1.1\r\n"))
        #expect(head.contains("x-many: a\r\nx-many: b\r\n"))
        #expect(
            try await envoy.statistics(containing: "http.direct.downstream_rq_total")["http.direct.downstream_rq_total"]
                == 1
        )
    }

    @Test("A chunked request keeps its trailers, a large body arrives whole")
    func chunkedAndLarge() async throws {
        let server = try RawServer { connection in
            while let request = try await connection.request() {
                try await connection.respond(
                    body: request.body.hasSuffix("x-end: yes\r\n\r\n") ? "trailers" : request.body
                )
            }
        }
        let envoy = try await directEnvoy(to: server.port)
        let chunked = TestRequest(
            "POST",
            "/",
            body: .chunked([Array("ab".utf8), Array("c".utf8)], trailers: [("x-end", "yes")])
        )
        #expect(try await envoy.client().send(chunked).text == "trailers")
        let large = [UInt8](repeating: UInt8(ascii: "z"), count: 5_000_000)
        let response = try await envoy.client().send(TestRequest("POST", "/", body: .fixed(large)))
        #expect(response.body == large)
    }

    @Test("A stream is seen event by event, and the server notices a client that hangs up")
    func streaming() async throws {
        let first = Signal()
        let ended = Signal()
        let server = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
            await first.wait()
            try await connection.write("6\r\ndata: \r\n3\r\n2\n\n\r\n")
            await connection.waitForEnd()
            ended.raise()
        }
        let envoy = try await directEnvoy(to: server.port)
        let exchange = try await envoy.client().open(TestRequest("GET", "/"))
        #expect(try await exchange.nextEvent() == "data: 1")
        first.raise()
        #expect(try await exchange.nextEvent() == "data: 2")
        exchange.hangUp()
        await ended.wait()
    }

    @Test("Many requests at once are served")
    func many() async throws {
        let server = try RawServer { connection in
            while let request = try await connection.request() { try await connection.respond(body: request.body) }
        }
        let envoy = try await directEnvoy(to: server.port)
        let client = envoy.client()
        let answers = try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<200 { group.addTask { try await client.send(.post("/", json: "\(number)")).text } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(answers.count == 200)
    }

    @Test("Envoy accepts the configurations that are shipped", arguments: [true, false])
    func templates(overrideHost: Bool) async throws {
        let configuration: EnvoyProcess.Configuration =
            overrideHost
            ? .overrideHost(externalProcessorPort: 9, endpointPorts: [8, 7])
            : .originalDestination(externalProcessorPort: 9)
        let envoy = try await EnvoyProcess(configuration)
        // Nobody listens on port 9: Envoy answers by itself.
        let response = try await envoy.client().send(.post("/v1/completions", json: "{}"))
        #expect(response.status == 500)
        #expect(try await envoy.process.terminate() == .exited(0))
    }
}

@Suite("The override-host configuration without Apus", .serialized)
struct OverrideHostTests {
    /// The shipped configuration without its external processor: the client sets the destination itself.
    private func envoy(endpoints: [Int]) async throws -> EnvoyProcess {
        var text = try EnvoyProcess.Configuration.overrideHost(externalProcessorPort: 9, endpointPorts: endpoints)
            .text()
        let start = try #require(text.firstRange(of: "          - name: envoy.filters.http.ext_proc"))
        let end = try #require(text.firstRange(of: "          - name: envoy.filters.http.router"))
        text.removeSubrange(start.lowerBound..<end.lowerBound)
        return try await EnvoyProcess(.text(text))
    }

    private func server(_ name: String) throws -> RawServer {
        try RawServer { connection in
            while let request = try await connection.request() {
                try await connection.respond(body: "\(name) \(request.body.utf8.count)")
            }
        }
    }

    private func request(to port: Int, bytes: Int = 10) -> TestRequest {
        TestRequest(
            "POST",
            "/v1/completions",
            headers: [("x-gateway-destination-endpoint", "127.0.0.1:\(port)")],
            body: .fixed([UInt8](repeating: 32, count: bytes))
        )
    }

    @Test("A request goes to the endpoint that was picked")
    func pick() async throws {
        let servers = try (0..<3).map { try server("\($0)") }
        let envoy = try await envoy(endpoints: servers.map(\.port))
        for index in [2, 0, 1, 1, 2, 0] {
            #expect(try await envoy.client().send(request(to: servers[index].port)).text == "\(index) 10")
        }
    }

    @Test("A request for an endpoint that is not there goes to another one, with its whole body")
    func refused() async throws {
        let live = try server("live")
        let dead = try Socket.refusing()
        defer { withExtendedLifetime(dead) {} }
        let envoy = try await envoy(endpoints: [dead.port, live.port])
        for bytes in [10, 220_000, 5_000_000] {
            #expect(try await envoy.client().send(request(to: dead.port, bytes: bytes)).text == "live \(bytes)")
        }
    }

    @Test("A request whose endpoint breaks off before any byte of a response goes to another one")
    func reset() async throws {
        let live = try server("live")
        let broken = try RawServer { connection in
            _ = try await connection.request()
            connection.socket.hangUp()
        }
        let envoy = try await envoy(endpoints: [broken.port, live.port])
        for _ in 0..<5 {
            #expect(try await envoy.client().send(request(to: broken.port)).text == "live 10")
        }
    }
}

@Suite("The harness with other programs")
struct ChildProcessTests {
    @Test("Lines are awaited as they come, the end too")
    func linesAndEnd() async throws {
        let child = try ChildProcess("/bin/sh", ["-c", "echo one; echo two >&2; read x; exit 3"])
        #expect(try await child.waitForLine(containing: "o") == "one")
        #expect(try await child.waitForLine { $0.hasPrefix("t") } == "two")
        #expect(try await child.waitForExit() == .exited(3))
        #expect(child.output == "one\ntwo\n")
        await #expect(throws: TestFailure.self) { try await child.waitForLine(containing: "three") }
    }

    @Test("The environment is this process' with additions, and descriptors are not inherited")
    func environment() async throws {
        let child = try ChildProcess(
            "/bin/sh",
            ["-c", "echo $ADDED $PATH; ls /proc/self/fd | wc -l"],
            environment: ["ADDED": "yes"]
        )
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        // 0, 1, 2, and the one that ls has open on the directory.
        #expect(try await child.waitForLine { $0.hasPrefix("yes") } == "yes \(path)")
        #expect(try await child.waitForLine { !$0.hasPrefix("yes") } == "4")
    }

    @Test("A program is killed, with what it started, when its object is released")
    func released() async throws {
        var child: ChildProcess? = try ChildProcess("/bin/sh", ["-c", "sleep 1000 & echo $!; wait"])
        let line = try await child?.waitForLine { !$0.isEmpty }
        let grandchild = try #require(line.flatMap { Int32($0) })
        let other = try ChildProcess("/usr/bin/tail", ["--pid=\(grandchild)", "-s", "0.05", "-f", "/dev/null"])
        child = nil
        #expect(try await other.waitForExit() == .exited(0))
    }

    @Test("A program that is not there is an error")
    func missing() async throws {
        let child = try ChildProcess("/nonexistent/program")
        _ = try await child.waitForLine(containing: "/nonexistent/program")
        #expect(try await child.waitForExit() != .exited(0))
    }

    @Test("A wait that takes too long fails with the output")
    func deadline() async throws {
        let child = try ChildProcess("/bin/sh", ["-c", "echo hello; sleep 1000"])
        _ = try await child.waitForLine(containing: "hello")
        let error = await #expect(throws: TestFailure.self) {
            try await child.waitForLine(containing: "bye", within: .milliseconds(1))
        }
        #expect(error?.description.contains("hello") == true)
        #expect(try await child.terminate() == .signalled(15))
    }
}
