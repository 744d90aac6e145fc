import Bytes
import Foundation
import TestSupport
import Testing

@Suite("Requests through Envoy", .serialized, .showsLogs)
struct RequestTests {
    @Test(
        "Completions and chats, plain and streamed, are answered by the endpoint that was picked",
        arguments: Deployment.Gateway.allCases
    )
    func answers(gateway: Deployment.Gateway) async throws {
        try await withDeployment(.init(gateway: gateway)) { deployment in
            try await deployment.apus.waitUntilFresh()
            for isStream in [false, true] {
                for request in [Ask.completion(stream: isStream), Ask.chat(stream: isStream)] {
                    let (id, response) = try await deployment.send(request)
                    #expect(response.status == 200)
                    #expect(response.headers.all("x-went-into-resp-headers") == ["true"])
                    #expect(isStream == (response.events.last == "[DONE]"))
                    let usage = try response.usage
                    let prompt = try #require(usage["prompt_tokens"].int)
                    let completion = try #require(usage["completion_tokens"].int)
                    #expect(prompt > 0 && completion > 0)

                    let arrival = try await deployment.arrival(id)
                    #expect(try await deployment.apus.picked(id) == [arrival.server.port])
                    #expect(arrival.request["path"].string == request.path)
                    #expect(arrival.request["completion_tokens"].int == completion)

                    let line = try await deployment.apus.accessLine(id)
                    #expect(line["model"].string == Simulators.model)
                    #expect(line["endpoint"].string == "127.0.0.1:\(arrival.server.port)")
                    #expect(line["status"].int == 200)
                    #expect(line["promptTokens"].int == prompt)
                    #expect(line["completionTokens"].int == completion)
                    #expect(line["streaming"].bool == isStream)
                    #expect(line["termination"].string == "complete")
                    #expect(try await deployment.apus.decision(id)["status"].int == 200)
                }
            }
            #expect(try await deployment.apus.requestsInFlight() == 0)
        }
    }

    @Test("Apus gives a request an id when neither client nor gateway has")
    func generatedID() async throws {
        var plan = Deployment.Plan()
        plan.envoy = { text, _ in
            text.replacing(
                "stat_prefix: inference",
                with: "stat_prefix: inference\n          generate_request_id: false"
            )
        }
        try await withDeployment(plan) { deployment in
            let response = try await deployment.client.send(Ask.completion())
            #expect(response.status == 200)
            var arrived: [JSON] = []
            for server in deployment.servers { arrived += try await server.requests() }
            let ids = try #require(arrived.first).header("x-request-id")
            #expect(ids.count == 1)
            #expect(UUID(uuidString: ids.first ?? "") != nil)
            #expect(try await deployment.apus.accessLine(ids.first ?? "")["status"].int == 200)
        }
    }
}

@Suite(
    "What passes through Apus unchanged",
    .serialized,
    .deployment(.init(simulator: ["--lora-modules", "adapter"])),
    .showsLogs
)
struct PassageTests {
    /// A valid body of about so many bytes, spaced as no encoder would, with members nobody knows and a large number.
    private static func oddBody(_ count: Int, model: String = #""demo""#, stream: Bool = false) -> [UInt8] {
        let words = "Caf\u{e9} \\u00e9 <b>&amp;</b> \\\"quoted\\\" "
        // What is too much of a prompt, since the simulator counts its tokens, is in a member of its own.
        let promptBytes = min(count, 300_000)
        let prompt = String(repeating: words, count: max(1, promptBytes / words.utf8.count))
        let padding = String(repeating: words, count: (count - promptBytes) / words.utf8.count)
        return Array(
            ("{ \"max_tokens\" :3,\n\t\"x_unknown\": {\"seed\":  18446744073709551615, \"a\": [1.50, -0.0e0]},"
                + "\"prompt\":\"\(prompt)\"  ,\"x_padding\":\"\(padding)\",\"stream\":\(stream), \"model\" : \(model) ,\"z\":null }\r\n")
                .utf8
        )
    }

    private static func hash(_ bytes: [UInt8]) -> String {
        let digits = String(XXH3.hash(bytes.span.bytes), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static let json: HTTPFields = [("content-type", "application/json")]

    @Test("A body arrives byte for byte", arguments: [10, 220_000, 5_000_000])
    func body(count: Int) async throws {
        let deployment = try Deployment.ofSuite()
        let body = Self.oddBody(count)
        let request = TestRequest("POST", "/v1/completions", headers: Self.json, body: .fixed(body))
        let (id, response) = try await deployment.send(request)
        #expect(response.status == 200)
        let arrived = try await deployment.arrival(id).request
        #expect(arrived["body_length"].int == body.count)
        #expect(arrived["body_xxh3"].string == Self.hash(body))
        #expect(try await deployment.apus.accessLine(id)["requestBytes"].int == body.count)
    }

    /// A chunked request with trailers.
    private static func chunked(_ body: [UInt8]) -> TestRequest {
        let pieces = stride(from: 0, to: body.count, by: 50_001).map { Array(body[$0..<min($0 + 50_001, body.count)]) }
        return TestRequest(
            "POST",
            "/v1/completions",
            headers: json,
            body: .chunked(pieces, trailers: [("x-end", "yes")])
        )
    }

    @Test("A chunked body with trailers arrives byte for byte", arguments: [10, 220_000, 5_000_000])
    func chunked(count: Int) async throws {
        let deployment = try Deployment.ofSuite()
        let body = Self.oddBody(count)
        let (id, response) = try await deployment.send(Self.chunked(body))
        #expect(response.status == 200, "\(response.text)")
        #expect(try await deployment.arrival(id).request["body_xxh3"].string == Self.hash(body))
    }

    @Test("So it does where the gateway shows Apus the trailers and has no retries")
    func visibleTrailers() async throws {
        var plan = Deployment.Plan()
        plan.envoy = { text, _ in
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
                .filter { !$0.contains("retry_policy:") }
            return lines.joined(separator: "\n").replacing(
                "stat_prefix: inference",
                with: "stat_prefix: inference\n          http_protocol_options: {enable_trailers: true}"
            )
        }
        try await withDeployment(plan) { deployment in
            for count in [10, 220_000] {
                let body = Self.oddBody(count)
                let (id, response) = try await deployment.send(Self.chunked(body))
                #expect(response.status == 200, "\(response.text)")
                let arrived = try await deployment.arrival(id).request
                #expect(arrived["body_xxh3"].string == Self.hash(body))
                #expect(try await deployment.apus.accessLine(id)["promptTokens"].int != nil)
            }
        }
    }

    @Test(
        "A rewritten model changes nothing but the model's value, and the client gets its own name back",
        arguments: [false, true],
        [10, 220_000]
    )
    func rewritten(stream: Bool, count: Int) async throws {
        let deployment = try Deployment.ofSuite()
        let request = TestRequest(
            "POST",
            "/v1/completions",
            headers: Self.json + [("x-llm-d-model-name-rewrite", "adapter")],
            body: .fixed(Self.oddBody(count, model: #""nobody-serves-th\u0069s""#, stream: stream))
        )
        let (id, response) = try await deployment.send(request)
        #expect(response.status == 200)
        let arrived = try await deployment.arrival(id).request
        #expect(arrived["model"].string == "adapter")
        #expect(arrived["body_xxh3"].string == Self.hash(Self.oddBody(count, model: #""adapter""#, stream: stream)))
        let answers = stream ? response.events.filter { $0 != "[DONE]" } : [response.text]
        #expect(!answers.isEmpty)
        for answer in answers { #expect(try JSON(text: answer)["model"].string == "nobody-serves-this") }
        let line = try await deployment.apus.accessLine(id)
        #expect(line["model"].string == "nobody-serves-this")
        #expect(line["targetModel"].string == "adapter")
    }

    @Test("Repeated headers arrive as often as they were sent, and in their order")
    func repeatedHeaders() async throws {
        let deployment = try Deployment.ofSuite()
        let headers: HTTPFields = [("cookie", "a=1"), ("x-multi", "1"), ("cookie", "b=2"), ("x-multi", "2, 3")]
        let (id, response) = try await deployment.send(Ask.completion(headers: headers))
        #expect(response.status == 200)
        let arrived = try await deployment.arrival(id).request
        // Envoy may write the cookies in one line, as HTTP says they mean the same.
        #expect(arrived.header("cookie").joined(separator: "; ") == "a=1; b=2")
        #expect(arrived.header("x-multi") == ["1", "2, 3"])
        #expect(arrived.header("x-request-id") == [id])
    }

    @Test("Headers that only a picker may set do not arrive when a client sends them")
    func reservedHeaders() async throws {
        let deployment = try Deployment.ofSuite()
        let names = [
            "x-prefiller-host-port", "x-prefiller-url", "x-encoder-hosts-ports", "X-Data-Parallel-Host-Port",
            "x-kv-cache-source-host-port", "EPP-Profile", "x-gateway-destination-endpoint-subset",
            "x-gateway-destination-endpoint-served",
        ]
        let headers: HTTPFields =
            names.map { ($0, "10.0.0.1:1") } + [
                ("x-gateway-destination-endpoint", "10.0.0.1:1"), ("x-prefiller-host-port", "10.0.0.2:1"),
            ]
        let (id, response) = try await deployment.send(Ask.completion(headers: headers))
        #expect(response.status == 200)
        let (server, request) = try await deployment.arrival(id)
        for name in names { #expect(request.header(name.lowercased()) == []) }
        #expect(request.header("x-gateway-destination-endpoint") == ["127.0.0.1:\(server.port)"])
    }

    @Test("A request without a body is sent to some endpoint")
    func models() async throws {
        let deployment = try Deployment.ofSuite()
        let (id, response) = try await deployment.send(TestRequest("GET", "/v1/models"))
        #expect(response.status == 200)
        #expect(try JSON(text: response.text)["data"][0]["id"].string == Simulators.model)
        #expect(response["x-went-into-resp-headers"] == "true")
        #expect(try await deployment.apus.accessLine(id)["status"].int == 200)
        try await deployment.apus.waitUntilIdle()
    }

    @Test("An error of a model server reaches the client as it is", arguments: [400, 429, 500, 503])
    func upstreamError(status: Int) async throws {
        let deployment = try Deployment.ofSuite()
        let (id, response) = try await deployment.send(Ask.completion(headers: [("x-return-error", "\(status)")]))
        #expect(response.status == status)
        #expect(response.text.contains("InjectedError"))
        #expect(try await deployment.apus.accessLine(id)["status"].int == status)
        try await deployment.apus.waitUntilIdle()
    }
}
