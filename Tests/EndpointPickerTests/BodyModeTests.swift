import EndpointPicker
import TestSupport
import Testing

/// The ways in which Envoy may send bodies, besides full duplex.
@Suite struct BodyModeTests {
    private let pods = [Pod(0, 3, 0.2), Pod(1, 0, 0.1)]
    private let winner = "192.168.1.2:8000"

    private func headers(_ target: String = "theirs") -> EnvoyFrame {
        .requestHeaders([("x-request-id", "1"), ("x-llm-d-model-name-rewrite", target)])
    }

    /// The reply that tells the decision, of the given kind.
    private func decision(_ kind: EnvoyReply.Kind, body: EnvoyReply.Body = .unchanged) -> EnvoyReply {
        var reply = EnvoyReply(kind)
        reply.set = ["x-gateway-destination-endpoint: \(winner)"]
        reply.clearsRouteCache = true
        reply.metadata = ["envoy.lb/x-gateway-destination-endpoint=\(winner)"]
        reply.body = body
        return reply
    }

    private var seen: EnvoyReply {
        var reply = EnvoyReply(.responseHeaders)
        reply.set = ["x-went-into-resp-headers: true"]
        return reply
    }

    @Test("BUFFERED: the headers go on at once, and the body's reply carries the decision and the edited body")
    func buffered() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    headers().with(request: .buffered, response: .buffered),
                    .requestBody(completion("p", model: "mine"), endOfStream: true),
                    .responseHeaders([(":status", "200"), ("content-type", "application/json")]),
                    .responseBody(#"{"model":"theirs"}"#, endOfStream: true),
                ],
                replies: 4
            )
            // Envoy holds an edited body against its content-length, so that is told as well.
            let edited = completion("p", model: "theirs")
            var decision = decision(.requestBody, body: .replaced(Array(edited.utf8)))
            decision.set.insert("content-length: \(edited.utf8.count)", at: 0)
            var restored = EnvoyReply(.responseBody)
            restored.body = .replaced(Array(#"{"model":"mine"}"#.utf8))
            restored.set = ["content-length: 16"]
            #expect(replies == [EnvoyReply(.requestHeaders), decision, seen, restored])
        }
    }

    @Test("BUFFERED: a client's picker headers, the destination too, are taken off before the body is there")
    func bufferedForbiddenHeaders() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    .requestHeaders([
                        ("x-request-id", "1"), ("x-gateway-destination-endpoint", "10.0.0.1:1"),
                        ("x-prefiller-host-port", "10.0.0.1:1"),
                    ]).with(request: .buffered, response: .buffered),
                    .requestTrailers([("a", "b")]),
                ],
                replies: 2
            )
            var held = EnvoyReply(.requestHeaders)
            held.removed = ["x-gateway-destination-endpoint", "x-prefiller-host-port"]
            #expect(replies.first == held)
            #expect(replies.last?.kind == .requestTrailers)
        }
    }

    @Test("BUFFERED_PARTIAL: a body whose end Envoy keeps back is routed by its beginning, model and all")
    func bufferedPartial() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    headers().with(request: .bufferedPartial, response: .none),
                    .requestBody(#"{"model":"mine","prompt":"an unfinished prom"#),
                ],
                replies: 2
            )
            #expect(
                replies == [
                    EnvoyReply(.requestHeaders),
                    decision(
                        .requestBody,
                        body: .replaced(Array(#"{"model":"theirs","prompt":"an unfinished prom"#.utf8))
                    ),
                ]
            )
        }
    }

    @Test("BUFFERED_PARTIAL: where even the model is kept back, the request is routed by load alone")
    func bufferedPartialWithoutModel() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    headers().with(request: .bufferedPartial, response: .none),
                    .requestBody(#"{"prompt":"an unfinished prom"#),
                ],
                replies: 2
            )
            #expect(replies == [EnvoyReply(.requestHeaders), decision(.requestBody)])
        }
    }

    @Test("STREAMED: the decision comes with the headers, and every frame after it gets one reply")
    func streamed() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    headers().with(request: .streamed, response: .streamed),
                    .requestBody(#"{"model":"mine","#),
                    .requestBody(#""prompt":"p"}"#, endOfStream: true),
                    .responseHeaders([(":status", "200"), ("content-type", "application/json")]),
                    .responseBody(#"{"a":"#),
                    .responseBody("1}", endOfStream: true),
                ],
                replies: 6
            )
            #expect(
                replies == [
                    decision(.requestHeaders), EnvoyReply(.requestBody), EnvoyReply(.requestBody), seen,
                    EnvoyReply(.responseBody), EnvoyReply(.responseBody),
                ]
            )
        }
    }

    @Test("NONE: the decision comes with the headers, and only headers are ever answered")
    func none() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    headers().with(request: .none, response: .none),
                    .responseHeaders([(":status", "200"), ("content-type", "application/json")]),
                ],
                replies: 2
            )
            #expect(replies == [decision(.requestHeaders), seen])
        }
    }

    @Test("Observation: nothing is answered and nothing is reserved")
    func observation() async throws {
        try await withPicker(pods) { picker in
            let status = await picker.status([
                headers().with(request: .streamed).asObservation,
                EnvoyFrame.requestBody(completion("p", model: "mine"), endOfStream: true).asObservation,
            ])
            #expect(status.code == 0)
        }
    }

    @Test("A request with trailers gets its decision with them")
    func trailers() async throws {
        try await withPicker(pods) { picker in
            let body = completion("p", model: "mine")
            let replies = try await picker.exchange(
                [
                    .requestHeaders([("x-request-id", "1")]),
                    .requestBody(body),
                    .requestTrailers([("x-end", "yes")]),
                ],
                replies: 3
            )
            var chunk = EnvoyReply(.requestBody)
            chunk.body = .streamed(Array(body.utf8), endOfStream: false)
            #expect(replies == [decision(.requestHeaders), chunk, EnvoyReply(.requestTrailers)])
        }
    }

    @Test("A repeated end of the body is ignored")
    func repeatedEnd() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    .requestHeaders([("x-request-id", "1")]),
                    .requestBody(completion("p", model: "mine"), endOfStream: true),
                    .requestBody("", endOfStream: true),
                    .responseHeaders([(":status", "200")], endOfStream: true),
                ],
                replies: 3
            )
            #expect(replies.map(\.kind) == [.requestHeaders, .requestBody, .responseHeaders])
        }
    }
}
