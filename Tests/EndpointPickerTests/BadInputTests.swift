import EndpointPicker
import TestSupport
import Testing

/// Input that no honest gateway or client sends. After each of it, the next request is served.
@Suite struct BadInputTests {
    private let pods = [Pod(0, 0, 0.1)]

    private func expectServed(_ picker: TestPicker) async throws {
        let replies = try await picker.exchange(llmRequest("p", model: "m", target: "m"), replies: 2)
        #expect(
            replies == routed(to: "192.168.1.1:8000", body: completion("p", model: "m"), contentLength: false)
        )
    }

    private static let invalidArgument = 3

    @Test("A frame that is no protobuf ends the stream with INVALID_ARGUMENT")
    func garbage() async throws {
        try await withPicker(pods) { picker in
            let status = await picker.status([EnvoyFrame(bytes: [0xFF, 0xFF, 0xFF])])
            #expect(status.code == Self.invalidArgument)
            try await expectServed(picker)
        }
    }

    @Test("An unknown request ends the stream with INVALID_ARGUMENT")
    func unknownRequest() async throws {
        try await withPicker(pods) { picker in
            let status = await picker.status([EnvoyFrame(bytes: []).appending { $0.message(99) { $0.text(1, "?") } }])
            #expect(status.code == Self.invalidArgument)
            try await expectServed(picker)
        }
    }

    @Test("Headers that come twice end the stream with INVALID_ARGUMENT")
    func headersTwice() async throws {
        try await withPicker(pods) { picker in
            let status = await picker.status([.requestHeaders([("a", "b")]), .requestHeaders([("a", "b")])])
            #expect(status.code == Self.invalidArgument)
            try await expectServed(picker)
        }
    }

    @Test(
        "What is no acceptable body is the client's fault",
        arguments: [
            String(repeating: #"{"a":"#, count: 100_000), String(repeating: "[", count: 100_000),
            #"{"model":"a","model":"b","prompt":"p"}"#, #"{"model":"a","prompt":"p"}x"#, "\u{FEFF}{}",
            #"{"model":7,"prompt":"p"}"#, #"{"model":"a"}"#, "", "null", "[]",
        ]
    )
    func badBodies(body: String) async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [.requestHeaders([("x-request-id", "1")]), .requestBody(body, endOfStream: true)],
                replies: 1
            )
            #expect(replies.first?.status == 400)
            #expect(replies.first?.bodyText.hasPrefix("inference error: BadRequest - ") == true)
            try await expectServed(picker)
        }
    }

    @Test("Invalid UTF-8 is the client's fault")
    func invalidUTF8() async throws {
        try await withPicker(pods) { picker in
            let body = Array(#"{"model":"a","prompt":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8)
            let replies = try await picker.exchange(
                [.requestHeaders([("x-request-id", "1")]), .requestBody(body, endOfStream: true)],
                replies: 1
            )
            #expect(replies.first?.status == 400)
        }
    }

    @Test("A body over the limit is refused with 413 as soon as it is over")
    func tooLarge() async throws {
        let limits = PickerLimits(requestBodyBytes: 1000, heldResponseBytes: 1000)
        try await withPicker(pods, limits: limits) { picker in
            let replies = try await picker.exchange(
                [
                    .requestHeaders([("x-request-id", "1"), ("content-length", "99999999999")]),
                    .requestBody(String(repeating: "x", count: 600)), .requestBody(String(repeating: "x", count: 600)),
                ],
                replies: 1
            )
            #expect(replies == [immediate(413, "inference error: PayloadTooLarge - request body exceeds 1000 bytes")])
            try await expectServed(picker)
        }
    }

    @Test("Headers that only a picker may set are taken off the request, and no others")
    func reservedHeaders() async throws {
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(
                [
                    .requestHeaders([
                        ("x-request-id", "1"), ("X-Prefiller-Host-Port", "10.0.0.1:1"), ("x-prefiller-url", "u"),
                        ("x-encoder-hosts-ports", "e"), ("x-data-parallel-host-port", "d"),
                        ("x-kv-cache-source-host-port", "k"), ("epp-profile", "decode"),
                        ("x-gateway-destination-endpoint", "10.0.0.1:1"),
                        ("x-gateway-destination-endpoint-served", "10.0.0.1:1"), ("x-mine", "1"), ("expect", "x"),
                    ]),
                    .requestBody(completion("p", model: "m"), endOfStream: true),
                ],
                replies: 2
            )
            #expect(
                replies.first?.removed == [
                    "X-Prefiller-Host-Port", "epp-profile", "x-data-parallel-host-port", "x-encoder-hosts-ports",
                    "x-gateway-destination-endpoint-served", "x-kv-cache-source-host-port", "x-prefiller-url",
                ]
            )
            #expect(replies.first?.set == ["x-gateway-destination-endpoint: 192.168.1.1:8000"])
        }
    }

    @Test("A stream that ends before its first frame is counted, and nothing else is told of it")
    func emptyStream() async throws {
        try await withPicker([Pod(0, 0, 0)]) { picker in
            _ = await picker.status([])
            let page = picker.metrics
            #expect(page.contains("apus_empty_streams_total 1\n"))
            #expect(!page.contains("inference_objective_request_error_total"))
            #expect(page.contains("apus_streams_active 0\n"))
        }
    }

    @Test("A client that leaves at any point leaves nothing reserved")
    func clientLeaves() async throws {
        try await withPicker(pods) { picker in
            let frames =
                llmRequest("p", model: "m", target: "t") + [
                    .responseHeaders([(":status", "200"), ("content-type", "text/event-stream")]),
                    .responseBody("data: {}\n\n"),
                ]
            let replies = [0, 0, 2, 3, 4]
            for sent in 0...frames.count {
                let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
                for frame in frames[..<sent] { await stream.send(frame.bytes) }
                _ = try await stream.replies(replies[sent])
                stream.cancel()
                let status = await stream.status()
                #expect(status.code == 1)
            }
            try await expectServed(picker)
        }
    }

    @Test("An id is made for a request without one, and it is a UUID")
    func requestID() async throws {
        try await withPicker(pods) { picker in
            var ids: Set<String> = []
            for _ in 0..<3 {
                let replies = try await picker.exchange(
                    [.requestHeaders([("a", "b")]), .requestBody(completion("p", model: "m"), endOfStream: true)],
                    replies: 2
                )
                let id = try #require(replies.first?.header("x-request-id"))
                let uuid = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/
                let isUUID = id.wholeMatch(of: uuid) != nil
                #expect(isUUID)
                ids.insert(id)
            }
            #expect(ids.count == 3)
        }
    }

    @Test("Requests that come faster than any scrape spread over equal endpoints")
    func burst() async throws {
        let equal = (0..<4).map { Pod($0, 0, 0.1) }
        try await withPicker(equal) { picker in
            var streams: [GRPCClientCall] = []
            for number in 0..<16 {
                let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
                for frame in llmRequest("prompt \(number)", model: "m", target: "m") { await stream.send(frame.bytes) }
                _ = try await stream.replies(2)
                streams.append(stream)
            }
            #expect(picker.inFlight == [4, 4, 4, 4])
            for stream in streams {
                stream.cancel()
                _ = await stream.status()
            }
        }
    }
}
