import Configuration
import EndpointPicker
import Inference
import Pool
import TestSupport
import Testing

/// How much of a response is looked at, and what it tells.
@Suite struct ResponseProcessingTests {
    private static func settings(_ processing: EndpointPickerConfiguration.ResponseProcessing) -> DirectorSettings {
        var settings = DirectorSettings.defaults
        settings.responseProcessing = processing
        return settings
    }

    private static let events = [
        "data: {\"choices\":[{\"text\":\"a\"}]}\n\n", "data: {\"choices\":[{\"text\":\"b\"}]}\n\n",
    ]
    private static let usage = "data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":10}}\n\ndata: [DONE]\n\n"

    private static func request(_ mode: EnvoyFrame.Mode, _ response: EnvoyFrame.Mode) -> [EnvoyFrame] {
        let frames = llmRequest("a prompt", model: "m", target: "m")
        return [frames[0].with(request: mode, response: response), frames[1]]
    }

    private static let eventStream = EnvoyFrame.responseHeaders([
        (":status", "200"), ("content-type", "text/event-stream"),
    ])

    @Test(
        "A stream's usage is told whether all of it or its end is read",
        arguments: EndpointPickerConfiguration.ResponseProcessing.allCases
    )
    func usage(processing: EndpointPickerConfiguration.ResponseProcessing) async throws {
        try await withPicker([Pod(0, 4, 0.2)], settings: Self.settings(processing)) { picker in
            let pieces = Self.events + [Self.usage]
            let frames =
                Self.request(.fullDuplexStreamed, .fullDuplexStreamed) + [Self.eventStream]
                + pieces.map { .responseBody($0) } + [.responseBody("", endOfStream: true)]
            let replies = try await picker.exchange(frames, replies: 7)
            #expect(replies.dropFirst(3).map(\.bodyText) == pieces + [""])
            #expect(replies.allSatisfy { $0.modeOverride == nil })
            #expect(
                picker.metrics.contains(
                    #"inference_objective_output_tokens_sum{model_name="m",target_model_name="m"} 10"#
                )
            )
            let itl =
                #"llm_d_epp_request_streaming_itl_seconds_count{fairness_id="default-flow",model_name="m",priority="0",target_model_name="m"} 2"#
            #expect(picker.metrics.contains(itl))
            #expect(picker.metrics.contains("llm_d_epp_response_processing_duration_seconds_count 1"))
        }
    }

    @Test(
        "Where bodies can be stopped, the reply to the response's headers asks for it, and the stream's end is the response's"
    )
    func stopped() async throws {
        try await withPicker([Pod(0, 4, 0.2)], settings: Self.settings(.headers)) { picker in
            let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
            for frame in Self.request(.buffered, .streamed) { await stream.send(frame.bytes) }
            _ = try await stream.replies(2)
            await stream.send(Self.eventStream.bytes)
            let reply = try #require(try await stream.replies(1).first)
            // Buffered requests as before, no response bodies, but still the response's trailers.
            #expect(reply.modeOverride == [2, 0, 1])
            #expect(picker.inFlight == [1])
            await stream.halfClose()
            _ = await stream.status()
            #expect(picker.inFlight == [0])
            #expect(!picker.metrics.contains("request_error_total{"))
        }
    }

    @Test("A filter that goes on sending bodies is served as before")
    func notHeeded() async throws {
        try await withPicker([Pod(0, 4, 0.2)], settings: Self.settings(.headers)) { picker in
            let frames =
                Self.request(.buffered, .streamed) + [Self.eventStream] + Self.events.map { .responseBody($0) }
                + [.responseBody(Self.usage, endOfStream: true)]
            let replies = try await picker.exchange(frames, replies: 6)
            #expect(replies.dropFirst(3).allSatisfy { $0.kind == .responseBody && $0.body == .unchanged })
            #expect(
                picker.metrics.contains(
                    #"inference_objective_output_tokens_sum{model_name="m",target_model_name="m"} 10"#
                )
            )
        }
    }

    @Test("A rewritten model's name is put back, so bodies are not stopped then")
    func rewritten() async throws {
        try await withPicker([Pod(0, 4, 0.2)], settings: Self.settings(.headers)) { picker in
            let frames = llmRequest("a prompt", model: "m", target: "t")
            let replies = try await picker.exchange(
                [frames[0].with(request: .buffered, response: .streamed), frames[1], Self.eventStream],
                replies: 3
            )
            #expect(replies.allSatisfy { $0.modeOverride == nil })
        }
    }

    // MARK: What Envoy does not show

    @Test("Where Envoy shows no response, the load stays until the endpoint's next page")
    func unobserved() async throws {
        let pods = [Pod(0, 4, 0.2)]
        try await withPicker(pods) { picker in
            let replies = try await picker.exchange(Self.request(.fullDuplexStreamed, .none), replies: 2)
            #expect(replies.count == 2)
            #expect(picker.inFlight == [1])
            picker.pool.set(pods)
            #expect(picker.inFlight == [0])
        }
    }

    // MARK: The endpoint that serves

    private static func served(_ endpoint: String) -> EnvoyFrame {
        eventStream.with(metadata: "envoy.lb", "x-gateway-destination-endpoint-served", [endpoint])
    }

    @Test("The load moves to the endpoint that serves, and its cache is taken to hold the prompt")
    func movedLoad() async throws {
        let pods = [Pod(0, 0, 0.1), Pod(1, 9, 0.9)]
        let prompt = String(repeating: "many words of a long prompt ", count: 100)
        try await withPicker(pods) { picker in
            let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
            for frame in llmRequest(prompt, model: "m", target: "m") { await stream.send(frame.bytes) }
            let decision = try await stream.replies(2)
            #expect(decision.first?.header("x-gateway-destination-endpoint") == "192.168.1.1:8000")
            #expect(picker.inFlight == [1, 0])
            await stream.send(Self.served("192.168.1.2:8000").bytes)
            _ = try await stream.replies(1)
            #expect(picker.inFlight == [0, 1])
            await stream.send(EnvoyFrame.responseBody("", endOfStream: true).bytes)
            _ = try await stream.replies(1)
            #expect(picker.inFlight == [0, 0])
            await stream.halfClose()
            _ = await stream.status()

            // The pick is avoided until its next page; after it both hold the prompt, and the load decides.
            let next = try await picker.exchange(llmRequest(prompt, model: "m", target: "m"), replies: 2)
            #expect(next.first?.header("x-gateway-destination-endpoint") == "192.168.1.2:8000")
            picker.pool.set([Pod(0, 9, 0.9), Pod(1, 0, 0.1)])
            let last = try await picker.exchange(llmRequest(prompt, model: "m", target: "m"), replies: 2)
            #expect(last.first?.header("x-gateway-destination-endpoint") == "192.168.1.2:8000")
        }
    }

    @Test(
        "The pick itself, or an endpoint that nobody knows, moves nothing",
        arguments: ["192.168.1.1:8000", "10.0.0.1:1", ""]
    )
    func unmovedLoad(endpoint: String) async throws {
        try await withPicker([Pod(0, 0, 0.1), Pod(1, 9, 0.9)]) { picker in
            let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
            for frame in llmRequest("test", model: "m", target: "m") { await stream.send(frame.bytes) }
            _ = try await stream.replies(2)
            await stream.send(Self.served(endpoint).bytes)
            _ = try await stream.replies(1)
            #expect(picker.inFlight == [1, 0])
            #expect(picker.pool.snapshot.scrapes.allSatisfy { $0.reachable })
            await stream.halfClose()
            _ = await stream.status()
        }
    }

    // MARK: What is measured

    @Test("Predicted and reported cached tokens are summed, and picks on one state of the pool counted")
    func predictions() async throws {
        let pods = [Pod(0, 0, 0.1), Pod(1, 9, 0.9)]
        let prompt = String(repeating: "x", count: 64 * 4 * 3)
        let answer =
            #"{"usage":{"prompt_tokens":200,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":128}}}"#
        try await withPicker(pods) { picker in
            for _ in 0..<3 {
                let frames =
                    llmRequest(prompt, model: "m", target: "m") + [
                        .responseHeaders([(":status", "200"), ("content-type", "application/json")]),
                        .responseBody(answer, endOfStream: true),
                    ]
                _ = try await picker.exchange(frames, replies: 4)
            }
            // The first found an empty index; the others three blocks of 64 tokens.
            #expect(picker.metrics.contains("apus_prefix_predicted_tokens_total 384"))
            #expect(picker.metrics.contains("apus_prefix_reported_tokens_total 384"))
            #expect(picker.metrics.contains("apus_herding_picks_count 0"))
            picker.pool.set(pods)
            _ = try await picker.exchange(llmRequest("y", model: "m", target: "m"), replies: 2)
            #expect(picker.metrics.contains("apus_herding_picks_count 1"))
            #expect(picker.metrics.contains("apus_herding_picks_sum 3"))
        }
    }
}
