import EndpointPicker
import Inference
import TestSupport
import Testing

/// The reference's hermetic cases for vLLM's gRPC API, but for priorities, which need Kubernetes objects.
@Suite struct HermeticGRPCTests {
    private static let generate = "/vllm.grpc.engine.VllmEngine/Generate"
    private static let embed = "/vllm.grpc.engine.VllmEngine/Embed"

    private static let settings = DirectorSettings(
        parsers: ParserSelection([VLLMGRPCParser()]),
        honorsSubset: true,
        emitsScores: false
    )

    // MARK: Messages

    private static func framed(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
        var message = ProtobufWriter()
        write(&message)
        let length = message.bytes.count
        return [0, UInt8(length >> 24 & 255), UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255)]
            + message.bytes
    }

    private static func generateMessage(_ prompt: String, stream: Bool = false) -> [UInt8] {
        framed { message in
            message.text(3, prompt)
            message.flag(5, stream)
        }
    }

    private static func embedMessage(_ prompt: String) -> [UInt8] {
        framed { $0.message(2) { $0.text(1, prompt) } }
    }

    private static func headers(_ path: String) -> EnvoyFrame {
        .requestHeaders([
            ("hi", "mom"), ("x-request-id", "test-request-id"), (":path", path), ("content-type", "application/grpc"),
        ])
    }

    private static func routed(to endpoint: String, _ body: [UInt8]) -> [EnvoyReply] {
        var headers = EnvoyReply(.requestHeaders)
        headers.set = ["x-gateway-destination-endpoint: \(endpoint)"]
        headers.clearsRouteCache = true
        headers.metadata = ["envoy.lb/x-gateway-destination-endpoint=\(endpoint)"]
        return [headers, chunk(.requestBody, body, endOfStream: true)]
    }

    private static func chunk(_ kind: EnvoyReply.Kind, _ body: [UInt8], endOfStream: Bool = false) -> EnvoyReply {
        var reply = EnvoyReply(kind)
        reply.body = .streamed(body, endOfStream: endOfStream)
        return reply
    }

    private static func responseHeaders() -> EnvoyReply {
        var reply = EnvoyReply(.responseHeaders)
        reply.set = ["x-went-into-resp-headers: true"]
        return reply
    }

    /// `GenerateResponse {chunk {token_ids}}`
    private static func tokens(_ ids: [UInt8]) -> [UInt8] {
        framed { $0.message(1) { $0.bytes(1, ids) } }
    }

    /// `GenerateResponse {complete {prompt_tokens, completion_tokens}}`
    private static let complete = framed { message in
        message.message(2) { complete in
            complete.varint(3, 7)
            complete.varint(4, 10)
        }
    }

    // MARK: Requests

    @Test(
        "The least loaded server gets the message as it came, and the request counts without a model",
        arguments: [
            (generate, generateMessage("test1")), (embed, embedMessage("test1")),
            (generate, generateMessage("test-stream", stream: true)),
        ]
    )
    func leastLoaded(path: String, body: [UInt8]) async throws {
        try await withPicker([Pod(0, 3, 0.2), Pod(1, 0, 0.1), Pod(2, 10, 0.2)], settings: Self.settings) { picker in
            let replies = try await picker.exchange(
                [Self.headers(path), .requestBody(body, endOfStream: true)],
                replies: 2
            )
            #expect(replies == Self.routed(to: "192.168.1.2:8000", body))
            let total = #"inference_objective_request_total{model_name="",priority="0",target_model_name=""} 1"#
            #expect(picker.metrics.contains(total))
        }
    }

    @Test("A busy pool still takes requests")
    func busy() async throws {
        let pods = [Pod(0, 6, 0.2, "foo", "bar"), Pod(1, 0, 0.85, "foo"), Pod(2, 10, 0.9, "foo")]
        try await withPicker(pods, settings: Self.settings) { picker in
            let body = Self.generateMessage("test2")
            let replies = try await picker.exchange(
                [Self.headers(Self.generate), .requestBody(body, endOfStream: true)],
                replies: 2
            )
            #expect(replies == Self.routed(to: "192.168.1.1:8000", body))
        }
    }

    @Test(
        "What is no message of the method is refused with the reference's words",
        arguments: [
            (
                generate, Array("no healthy upstream".utf8),
                "parsing gRPC payload for Generate: not able to parse payload"
            ),
            (embed, Array("no healthy upstream".utf8), "parsing gRPC payload for Embed: not able to parse payload"),
            (
                generate, [1, 0, 0, 0, 0],
                "parsing gRPC payload for Generate: compressed vllmgrpc payload is not supported"
            ),
            (generate, [0, 0, 0, 0, 0], "parsing gRPC payload for Generate: not supported request inputType"),
            (embed, [0, 0, 0, 0, 0], "parsing gRPC payload for Embed: missing tokenized input in EmbedRequest"),
            ("unsupportedMethod", [0, 0, 0, 0, 0], "unsupported gRPC path: unsupportedMethod"),
        ] as [(String, [UInt8], String)]
    )
    func invalid(path: String, body: [UInt8], message: String) async throws {
        try await withPicker([Pod(0, 0, 0.2)], settings: Self.settings) { picker in
            let replies = try await picker.exchange(
                [Self.headers(path), .requestBody(body, endOfStream: true)],
                replies: 1
            )
            #expect(replies == [immediate(400, "inference error: BadRequest - \(message)")])
        }
    }

    @Test("A message may be split over frames, and its request may end with trailers")
    func splitMessage() async throws {
        try await withPicker([Pod(0, 4, 0.2), Pod(1, 4, 0.85)], settings: Self.settings) { picker in
            let body = Self.generateMessage("test3")
            let split = try await picker.exchange(
                [
                    Self.headers(Self.generate), .requestBody(body.prefix(body.count / 2)),
                    .requestBody(body.dropFirst(body.count / 2), endOfStream: true),
                ],
                replies: 2
            )
            #expect(split == Self.routed(to: "192.168.1.1:8000", body))

            let ended = try await picker.exchange(
                [Self.headers(Self.generate), .requestBody(body), .requestTrailers()],
                replies: 3
            )
            var expected = Self.routed(to: "192.168.1.1:8000", body)
            expected[1] = Self.chunk(.requestBody, body)
            #expect(ended == expected + [EnvoyReply(.requestTrailers)])
        }
    }

    @Test(
        "The subset binds",
        arguments: [
            (["192.168.1.1:8000", "192.168.1.2:8000", "192.168.1.3:8000"], "192.168.1.2:8000"),
            (["192.168.1.3:8000"], "192.168.1.3:8000"),
            (["192.168.1.99:8000"], nil),
        ] as [([String], String?)]
    )
    func subset(subset: [String], winner: String?) async throws {
        let pods = [Pod(0, 0, 0.2, "foo"), Pod(1, 0, 0.1, "foo"), Pod(2, 10, 0.2, "foo")]
        try await withPicker(pods, settings: Self.settings) { picker in
            let body = Self.generateMessage("test2")
            let frames = [Self.headers(Self.generate), .requestBody(body, endOfStream: true)].map {
                $0.with(subset: subset)
            }
            let replies = try await picker.exchange(frames, replies: winner == nil ? 1 : 2)
            #expect(replies == (winner.map { Self.routed(to: $0, body) } ?? [noEndpoints]))
        }
    }

    @Test("Without endpoints a request that ends with its headers gets 503")
    func nobody() async throws {
        try await withPicker([], settings: Self.settings) { picker in
            let replies = try await picker.exchange(
                [.requestHeaders([("content-type", "application/json")], endOfStream: true)],
                replies: 1
            )
            #expect(replies == [noEndpoints])
        }
    }

    private var noEndpoints: EnvoyReply {
        immediate(
            503,
            "inference error: ServiceUnavailable - failed to find endpoint candidates for serving the request",
            reason: "rejected-no-endpoints"
        )
    }

    // MARK: Responses

    @Test(
        "A response is kept until its trailers, then sent on whole and without an end of stream",
        arguments: [tokens([1, 2, 3, 4, 5, 6, 7]), Array("no healthy upstream".utf8), complete]
    )
    func buffered(body: [UInt8]) async throws {
        try await withPicker([Pod(0, 4, 0.2)], settings: Self.settings) { picker in
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "application/grpc")]),
                    .responseBody(body.prefix(body.count / 2)), .responseBody(body.dropFirst(body.count / 2)),
                    .responseTrailers(),
                ],
                replies: 3
            )
            #expect(
                replies == [Self.responseHeaders(), Self.chunk(.responseBody, body), EnvoyReply(.responseTrailers)]
            )
            let told = body == Self.complete
            #expect(picker.metrics.contains(#"input_tokens_sum{model_name="",target_model_name=""} 7"#) == told)
            #expect(picker.metrics.contains(#"output_tokens_sum{model_name="",target_model_name=""} 10"#) == told)
        }
    }

    @Test("What was asked for as a stream is passed on message by message, and its usage is counted")
    func streamed() async throws {
        try await withPicker([Pod(0, 4, 0.2)], settings: Self.settings) { picker in
            let body = Self.generateMessage("test-stream", stream: true)
            let first = Self.tokens([1, 2, 3])
            let replies = try await picker.exchange(
                [
                    Self.headers(Self.generate), .requestBody(body, endOfStream: true),
                    .responseHeaders([("content-type", "application/grpc")]),
                    .responseBody(first), .responseBody(Self.complete), .responseTrailers(),
                ],
                replies: 6
            )
            #expect(
                replies == Self.routed(to: "192.168.1.1:8000", body) + [
                    Self.responseHeaders(), Self.chunk(.responseBody, first), Self.chunk(.responseBody, Self.complete),
                    EnvoyReply(.responseTrailers),
                ]
            )
            #expect(picker.metrics.contains(#"input_tokens_sum{model_name="",target_model_name=""} 7"#))
            #expect(picker.metrics.contains(#"output_tokens_sum{model_name="",target_model_name=""} 10"#))
        }
    }
}
