import Admission
import Bytes
import Configuration
import Pool
import Scheduling
import SubRequests
import Telemetry
import TestSupport
import Testing

@testable import EndpointPicker

@Suite("How many tokens a prompt has", .timeLimit(.minutes(2)))
struct TokenTests {
    private let client = HTTPClient()

    private static func chat(_ text: String = "hello") -> [EnvoyFrame] {
        [
            .requestHeaders([
                (":path", "/v1/chat/completions"), ("x-request-id", "id"), ("authorization", "Bearer key"),
            ]),
            .requestBody(#"{"model":"m","messages":[{"role":"user","content":"\#(text)"}]}"#, endOfStream: true),
        ]
    }

    private static func completions(_ prompt: String) -> [EnvoyFrame] {
        [
            .requestHeaders([(":path", "/v1/completions"), ("x-request-id", "id")]),
            .requestBody(#"{"model":"m","prompt":\#(prompt)}"#, endOfStream: true),
        ]
    }

    private func settings(_ server: FakeHTTPServer, timeout: Duration = .seconds(20)) -> DirectorSettings {
        var settings = DirectorSettings.defaults
        var rendering = TokenRendering()
        rendering.url = "http://\(server.address)"
        rendering.timeout = timeout
        settings.rendering = rendering
        return settings
    }

    /// Expects so many tokens in flight while a request is with its server.
    private func expect(
        _ expected: Int,
        _ picker: TestPicker,
        _ frames: [EnvoyFrame],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let stream = try await picker.begin(frames)
        _ = try await stream.replies(2)
        let tokens = picker.pool.snapshot.endpoints.reduce(0) { $0 + $1.load.reading.tokens }
        #expect(tokens == expected, sourceLocation: sourceLocation)
        await stream.end()
    }

    @Test("The server's count is the load, and it gets the body, the key and the model that is asked")
    func exact() async throws {
        let bodies = EventLog<String>()
        let server = try FakeHTTPServer { request in
            bodies.append(
                "\(request.path) \(request.headers["authorization"] ?? "") \(String(decoding: request.body, as: UTF8.self))"
            )
            return request.path == "/v1/chat/completions/render"
                ? .text(#"{"token_ids":[1,2,3,4,5,6,7]}"#) : .text(#"[{"token_ids":[1,2,3]}]"#)
        }
        let rewrites = [InferenceModelRewrite(name: "r", rules: [.init(targets: [.init("base")])])]
        try await withPicker(
            [Pod(0, 0, 0)],
            scheduler: TestProfiles.scheduler([]),
            settings: settings(server),
            modelRewrites: rewrites,
            client: client
        ) { picker in
            try await expect(7, picker, Self.chat())
            try await expect(3, picker, Self.completions(#""abc""#))
            // What is given in tokens needs no server.
            try await expect(4, picker, Self.completions("[1,2,3,4]"))
            #expect(
                bodies.entries == [
                    #"/v1/chat/completions/render Bearer key {"model":"base","messages":[{"role":"user","content":"hello"}]}"#,
                    #"/v1/completions/render  {"model":"base","prompt":"abc"}"#,
                ]
            )
            #expect(picker.metrics.contains(#"apus_token_renders_total{outcome="ok"} 2"#))
        }
    }

    @Test("A request that cannot be rendered is estimated and counted, and the server is asked again for the next")
    func ofRequest() async throws {
        let server = try FakeHTTPServer { _ in .text("no", status: 400) }
        try await withPicker(
            [Pod(0, 0, 0)],
            scheduler: TestProfiles.scheduler([]),
            settings: settings(server),
            client: client
        ) { picker in
            for _ in 0..<2 { try await expect(2, picker, Self.completions("\"12345678\"")) }
            #expect(picker.metrics.contains(#"apus_token_renders_total{outcome="error"} 2"#))
        }
    }

    @Test(
        "A server that fails is let alone for a while, and no request suffers",
        arguments: [
            FakeHTTPServer.Reply.text("", status: 500), .text("{}"), .close, .hang,
            .endless(head: Array("HTTP/1.1 200 OK\r\n\r\n".utf8), repeated: Array(repeating: 0x20, count: 1 << 16)),
        ]
    )
    func failing(reply: FakeHTTPServer.Reply) async throws {
        let server = try FakeHTTPServer { _ in reply }
        let problems = EventLog<String>()
        try await withPicker(
            [Pod(0, 0, 0)],
            scheduler: TestProfiles.scheduler([]),
            settings: settings(server, timeout: .milliseconds(300)),
            client: client,
            onRenderer: { problems.append($0 ?? "well") }
        ) { picker in
            try await expect(2, picker, Self.completions("\"12345678\""))
            #expect(picker.metrics.contains(#"apus_token_renders_total{outcome="error"} 1"#))
            #expect(problems.entries.count == 1)
        }
    }

    @Test("A client that hangs up ends its rendering")
    func hangUp() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        try await withPicker(
            [Pod(0, 0, 0)],
            scheduler: TestProfiles.scheduler([]),
            settings: settings(server, timeout: .seconds(600)),
            client: client
        ) { picker in
            let stream = try await picker.begin(Self.chat())
            await server.events.wait { $0.contains(.request(connection: 1, path: "/v1/chat/completions/render")) }
            stream.cancel()
            await server.events.wait { $0.contains(.disconnected(connection: 1)) }
        }
    }

    @Test("Exact tokens decide what disaggregates, and what a cached part of the prompt is worth")
    func decider() {
        var request = SchedulingRequest(model: "m", targetModel: "m", estimatedTokens: 300)
        let matches = PrefixMatches(totalBlocks: 10, blockTokens: 16, matchedBlocks: [0, 5, 10])
        request.prefix.exactTokens = PromptTokens(count: 300, ofBytes: 640).perBlock(ofBytes: 64)
        #expect(request.prefix.exactTokens == 30)
        #expect([0, 1, 2].map { InFlightLoad.uncachedTokens(request, matches, at: $0) } == [300, 150, 0])
        request.prefix.exactTokens = nil
        #expect([0, 1, 2].map { InFlightLoad.uncachedTokens(request, matches, at: $0) } == [300, 220, 140])
    }

    @Test("An image counts by its size, not by its bytes")
    func image() async throws {
        let png: [UInt8] =
            [0x89, 0x50, 0x4E, 0x47, 13, 10, 26, 10, 0, 0, 0, 13] + Array("IHDR".utf8) + [0, 0, 4, 0, 0, 0, 4, 0]
        let data = Base64.encode(png + Array(repeating: 0, count: 50_000))
        let part = #"[{"type":"image_url","image_url":{"url":"data:image/png;base64,\#(data)"}}]"#
        let frames: [EnvoyFrame] = [
            .requestHeaders([(":path", "/v1/chat/completions"), ("x-request-id", "id")]),
            .requestBody(#"{"model":"m","messages":[{"role":"user","content":\#(part)}]}"#, endOfStream: true),
        ]
        try await withPicker([Pod(0, 0, 0)], scheduler: TestProfiles.scheduler([])) { picker in
            let stream = try await picker.begin(frames)
            _ = try await stream.replies(3)
            let tokens = picker.pool.snapshot.endpoints.reduce(0) { $0 + $1.load.reading.tokens }
            #expect((1_024...1_060).contains(tokens))
            await stream.end()
        }
    }
}
