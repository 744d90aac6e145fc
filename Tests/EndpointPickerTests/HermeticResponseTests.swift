import EndpointPicker
import TestSupport
import Testing

/// The reference's hermetic cases for the response phase.
@Suite struct HermeticResponseTests {
    private static func headersReply() -> EnvoyReply {
        var reply = EnvoyReply(.responseHeaders)
        reply.set = ["x-went-into-resp-headers: true"]
        return reply
    }

    private static func chunk(_ text: String, endOfStream: Bool = false) -> EnvoyReply {
        var reply = EnvoyReply(.responseBody)
        reply.body = .streamed(Array(text.utf8), endOfStream: endOfStream)
        return reply
    }

    @Test("A JSON response in several frames is sent on as one body")
    func bufferedJSON() async throws {
        try await withPicker([Pod(0, 4, 0.2)]) { picker in
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "application/json")]),
                    .responseBody(#"{"max_tokens":100,"model":"sql-lo"#),
                    .responseBody(#"ra-sheddable","prompt":"test6","temperature":0}"#, endOfStream: true),
                ],
                replies: 2
            )
            #expect(
                replies == [
                    Self.headersReply(),
                    Self.chunk(
                        #"{"max_tokens":100,"model":"sql-lora-sheddable","prompt":"test6","temperature":0}"#,
                        endOfStream: true
                    ),
                ]
            )
        }
    }

    @Test("A response that is no JSON is sent on as it is")
    func invalidJSON() async throws {
        try await withPicker([Pod(0, 4, 0.2)]) { picker in
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "application/json")]),
                    .responseBody("no healthy upstream", endOfStream: true),
                ],
                replies: 2
            )
            #expect(replies == [Self.headersReply(), Self.chunk("no healthy upstream", endOfStream: true)])
        }
    }

    @Test("An empty frame that ends a JSON response joins the body before it")
    func emptyEnd() async throws {
        try await withPicker([Pod(0, 4, 0.2)]) { picker in
            let body = #"{"max_tokens":100,"model":"food-review","prompt":"test","temperature":0}"#
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "application/json")]),
                    .responseBody(body),
                    .responseBody("", endOfStream: true),
                ],
                replies: 2
            )
            #expect(replies == [Self.headersReply(), Self.chunk(body, endOfStream: true)])
        }
    }

    @Test("Events are passed on frame by frame, and their usage is counted")
    func events() async throws {
        try await withPicker([Pod(0, 4, 0.2)]) { picker in
            let usage =
                #"data: {"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}}"# + "\ndata: [DONE]"
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "text/event-stream"), ("status", "200")]),
                    .responseBody("data: {}"),
                    .responseBody(usage),
                    .responseBody("", endOfStream: true),
                ],
                replies: 4
            )
            #expect(
                replies == [
                    Self.headersReply(), Self.chunk("data: {}"), Self.chunk(usage), Self.chunk("", endOfStream: true),
                ]
            )
            let metrics = picker.metrics
            #expect(
                metrics.contains(#"inference_objective_input_tokens_sum{model_name="",target_model_name=""} 7"#)
            )
            #expect(
                metrics.contains(#"inference_objective_input_tokens_count{model_name="",target_model_name=""} 1"#)
            )
        }
    }

    @Test("Trailers flush the kept body without ending the stream, and are answered last")
    func trailers() async throws {
        try await withPicker([Pod(0, 4, 0.2)]) { picker in
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "application/grpc")]),
                    .responseBody("one"),
                    .responseBody("two"),
                    .responseTrailers([("grpc-status", "0")]),
                ],
                replies: 3
            )
            #expect(replies == [Self.headersReply(), Self.chunk("onetwo"), EnvoyReply(.responseTrailers)])
        }
    }

    @Test("A response longer than what is kept is passed on instead, whole and in order")
    func longResponse() async throws {
        let limits = PickerLimits(requestBodyBytes: 1 << 20, heldResponseBytes: 10)
        try await withPicker([Pod(0, 4, 0.2)], limits: limits) { picker in
            let replies = try await picker.exchange(
                [
                    .responseHeaders([("content-type", "application/json")]),
                    .responseBody("123456"), .responseBody("789012"), .responseBody("345"),
                    .responseBody("6", endOfStream: true),
                ],
                replies: 4
            )
            #expect(
                replies == [
                    Self.headersReply(), Self.chunk("123456789012"), Self.chunk("345"),
                    Self.chunk("6", endOfStream: true),
                ]
            )
        }
    }

    @Test("A rewritten model's name is put back into the response, also when frames split it")
    func restoredModel() async throws {
        for contentType in ["application/json", "text/event-stream"] {
            try await withPicker([Pod(0, 4, 0.2)]) { picker in
                let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
                for frame in llmRequest("test", model: "mine", target: "theirs-7") { await stream.send(frame.bytes) }
                _ = try await stream.replies(2)
                await stream.send(EnvoyFrame.responseHeaders([("content-type", contentType)]).bytes)
                await stream.send(EnvoyFrame.responseBody(#"data: {"model":"the"#).bytes)
                await stream.send(EnvoyFrame.responseBody(#"irs-7","x":1}"#, endOfStream: true).bytes)
                var text = ""
                var isLast = false
                _ = try await stream.replies(1)
                while !isLast {
                    let reply = try #require(try await stream.replies(1).first)
                    text += reply.bodyText
                    if case .streamed(_, true) = reply.body { isLast = true }
                }
                #expect(text == #"data: {"model":"mine","x":1}"#)
                await stream.halfClose()
                _ = await stream.status()
            }
        }
    }
}
