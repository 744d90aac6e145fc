import Admission
import Bytes
import Configuration
import EndpointPicker
import Pool
import Scheduling
import TestSupport
import Testing

/// llm-d-router's sample for prefill and decode.
private let prefillAndDecode = """
    plugins:
    - type: approx-prefix-cache-producer
      parameters: {maxPrefixTokensToMatch: 4096, lruCapacityPerServer: 31250}
    - type: prefix-cache-scorer
    - type: queue-scorer
    - type: prefill-filter
    - type: decode-filter
    - type: max-score-picker
    - type: disagg-profile-handler
      parameters: {deciders: {prefill: prefix-based-pd-decider}}
    - type: prefix-based-pd-decider
      parameters: {nonCachedTokens: 16}
    schedulingProfiles:
    - name: prefill
      plugins:
      - pluginRef: prefill-filter
      - pluginRef: max-score-picker
      - {pluginRef: prefix-cache-scorer, weight: 2}
      - {pluginRef: queue-scorer, weight: 1}
    - name: decode
      plugins:
      - pluginRef: decode-filter
      - pluginRef: max-score-picker
      - {pluginRef: prefix-cache-scorer, weight: 2}
      - {pluginRef: queue-scorer, weight: 1}
    """

private let chat = "/v1/chat/completions"

private func frames(
    _ body: String,
    path: String = "/v1/completions",
    _ headers: [(String, String)] = []
) -> [EnvoyFrame] {
    [
        .requestHeaders([(":path", path), ("x-request-id", "r")] + headers),
        .requestBody(body, endOfStream: true),
    ]
}

private func prompt(_ text: String) -> String { #"{"model":"m","prompt":"\#(text)"}"# }

/// The value of a header that a reply sets; nil when it does not.
private func header(_ name: String, of reply: EnvoyReply?) -> String? {
    reply?.set.first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
}

private let prefiller = "x-prefiller-host-port"
private let encoders = "x-encoder-hosts-ports"
private let destination = "x-gateway-destination-endpoint"

@Suite("Prefill and decode on endpoints of their own, through a real gRPC server")
struct DisaggregationTests {
    private let pods = [Pod(0, 0, 0.1).role("decode"), Pod(1, 0, 0.1).role("prefill"), Pod(2, 9, 0.1).role("prefill")]
    private let long = String(repeating: "word ", count: 200)

    @Test("A long prompt goes to the decode endpoint, with the best prefill endpoint in the sidecar's header")
    func disaggregated() async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let replies = try await picker.exchange(frames(prompt(long)), replies: 2)
            #expect(header(destination, of: replies.first) == "192.168.1.1:8000")
            #expect(header(prefiller, of: replies.first) == "192.168.1.2:8000")
            #expect(replies.first?.removed == [])
            #expect(replies.last?.body == .streamed(Array(prompt(long).utf8), endOfStream: true))
        }
    }

    @Test("A short prompt, and one that the decode endpoint holds, stay on it; a client's own header is taken off")
    func decodeOnly() async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let forged = [("X-Prefiller-Host-Port", "10.9.9.9:1"), ("x-encoder-hosts-ports", "10.9.9.9:2")]
            let short = try await picker.exchange(frames(prompt("hello"), forged), replies: 2)
            #expect(header(destination, of: short.first) == "192.168.1.1:8000")
            #expect(header(prefiller, of: short.first) == nil)
            #expect(short.first?.removed.map { $0.lowercased() }.sorted() == [encoders, prefiller])

            let first = try await picker.exchange(frames(prompt(long)), replies: 2)
            #expect(header(prefiller, of: first.first) != nil)
            // 768 bytes are 3 whole blocks of 64 tokens: of 250 tokens 58 are still to be computed, of 192 none.
            let held = String(long.prefix(768))
            let again = try await picker.exchange(frames(prompt(held)), replies: 2)
            #expect(header(prefiller, of: again.first) == nil)
            #expect(
                picker.metrics.contains(
                    #"llm_d_epp_disagg_decision_total{decision_type="decode-only",model_name="m",plugin_name="disagg-"#
                )
            )
            #expect(
                picker.metrics.contains(
                    #"llm_d_inference_scheduler_disagg_decision_total{decision_type="prefill-decode",model_name="m"} 1"#
                )
            )
        }
    }

    @Test("Of a prompt of token ids exactly those are cached that were sent before, however long each is in the body")
    func tokenIDs() async throws {
        let settings = prefillAndDecode.replacing("nonCachedTokens: 16", with: "nonCachedTokens: 300")
        func ids(_ count: Int, _ more: Int) -> String {
            let all = (0..<count).map { String(100_000 + $0) } + (0..<more).map { String($0 % 10) }
            return #"{"model":"m","prompt":[\#(all.joined(separator: ","))]}"#
        }
        try await withPicker(pods, scheduler: scheduler(settings)) { picker in
            let first = try await picker.exchange(frames(ids(600, 0)), replies: 2)
            #expect(header(prefiller, of: first.first) != nil)
            // 9 blocks of 64 ids are held: of 870 ids 294 are not, of 1000 424.
            let near = try await picker.exchange(frames(ids(600, 270)), replies: 2)
            #expect(header(prefiller, of: near.first) == nil)
            let far = try await picker.exchange(frames(ids(600, 276).replacing(",0,1,2,", with: ",9,9,9,")), replies: 2)
            #expect(header(prefiller, of: far.first) != nil)
        }
    }

    @Test("What the picker sets overwrites what the client sent, and is not removed")
    func overwritten() async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let forged = [("x-prefiller-host-port", "10.9.9.9:1"), ("x-prefiller-url", "http://10.9.9.9")]
            let replies = try await picker.exchange(frames(prompt(long), forged), replies: 2)
            #expect(header(prefiller, of: replies.first) == "192.168.1.2:8000")
            #expect(replies.first?.removed == ["x-prefiller-url"])
        }
    }

    @Test("Without a prefill endpoint a prompt that wants one gets 503; others are served")
    func noPrefill() async throws {
        try await withPicker([Pod(0, 0, 0.1).role("decode")], scheduler: scheduler(prefillAndDecode)) { picker in
            let refused = try await picker.exchange(frames(prompt(long)), replies: 1)
            #expect(
                refused == [
                    immediate(
                        503,
                        "inference error: ServiceUnavailable - failed to find target endpoint: "
                            + "failed to find available prefill workers",
                        reason: "rejected-no-endpoints"
                    )
                ]
            )
            let served = try await picker.exchange(frames(prompt("hello")), replies: 2)
            #expect(header(destination, of: served.first) == "192.168.1.1:8000")
        }
    }

    @Test("A request without a body is never disaggregated")
    func withoutBody() async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let replies = try await picker.exchange(
                [.requestHeaders([(":path", "/v1/models")], endOfStream: true)],
                replies: 1
            )
            #expect(header(destination, of: replies.first) == "192.168.1.1:8000")
            #expect(header(prefiller, of: replies.first) == nil)
        }
    }

    @Test("The prompt's tokens are in flight at both endpoints; the prefill's end when the response begins")
    func reservations() async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let loads = { picker.pool.snapshot.endpoints.map { [$0.load.reading.requests, $0.load.reading.tokens] } }
            let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
            for frame in frames(prompt(long)) { await stream.send(frame.bytes) }
            _ = try await stream.replies(2)
            #expect(loads() == [[1, 250], [1, 250], [0, 0]])
            await stream.send(
                EnvoyFrame.responseHeaders([(":status", "200"), ("content-type", "text/event-stream")]).bytes
            )
            _ = try await stream.replies(1)
            #expect(loads() == [[1, 250], [0, 0], [0, 0]])
            await stream.send(EnvoyFrame.responseBody("data: {}\n\n").bytes)
            _ = try await stream.replies(1)
            // The prompt has been computed; the request goes on.
            #expect(loads() == [[1, 0], [0, 0], [0, 0]])
            await stream.send(EnvoyFrame.responseBody("data: [DONE]\n\n", endOfStream: true).bytes)
            _ = try await stream.replies(1)
            #expect(loads() == [[0, 0], [0, 0], [0, 0]])
            await stream.halfClose()
            _ = await stream.status()
        }
    }

    @Test(
        "How long a prompt took is learnt from the good responses of those who waited for it, and from no others",
        arguments: [("200", true), ("500", false)]
    )
    func progress(status: String, isLearnt: Bool) async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
            for frame in frames(prompt(long)) { await stream.send(frame.bytes) }
            _ = try await stream.replies(2)
            await stream.send(
                EnvoyFrame.responseHeaders([(":status", status), ("content-type", "text/event-stream")]).bytes
            )
            _ = try await stream.replies(1)
            let prefill = picker.pool.snapshot.endpoints[1]
            let next = picker.pool.reserve(prefill, tokens: 1_000)
            #expect(prefill.load.reading.requests == 1)
            let candidates = picker.pool.candidates(at: .now() + .seconds(60))
            #expect((candidates.list[1].doneTokens > 0) == isLearnt)
            next.release()
            await stream.halfClose()
            _ = await stream.status()
        }
    }

    @Test("A client that hangs up gives everything back")
    func cancelled() async throws {
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            _ = try await picker.exchange(frames(prompt(long)), replies: 2)
            #expect(picker.inFlight == [0, 0, 0])
        }
    }

    @Test("Twenty prompts at once spread over equal prefill endpoints")
    func spread() async throws {
        let pods = [Pod(0, 0, 0.1).role("decode")] + (1...4).map { Pod($0, 0, 0.1).role("prefill") }
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            var streams: [GRPCClientCall] = []
            var counts: [String: Int] = [:]
            for index in 0..<20 {
                let stream = picker.client.call(ExternalProcessor.method, timeout: .seconds(120))
                streams.append(stream)
                for frame in frames(prompt("\(index) " + long)) { await stream.send(frame.bytes) }
                counts[header(prefiller, of: try await stream.replies(2).first) ?? "none", default: 0] += 1
            }
            #expect(counts.count == 4 && counts.values.allSatisfy { $0 == 5 }, "\(counts)")
            for stream in streams {
                await stream.halfClose()
                _ = await stream.status()
            }
        }
    }

    @Test(
        "They are refused where engines look for them beside it, too, and only there",
        arguments: [
            (
                #""sampling_params":{"max_tokens":1,"extra_args":{"kv_transfer_params":{}}}"#,
                "sampling_params.extra_args.kv_transfer_params"
            ),
            (
                #""sampling_params":{"extra_args":{"a":1,"ec_transfer_params":null}}"#,
                "sampling_params.extra_args.ec_transfer_params"
            ),
            (#""vllm_xargs":{"kv_transfer_params":"x"}"#, "vllm_xargs.kv_transfer_params"),
            (#""sampling_params":{"kv_transfer_params":{}}"#, nil), (#""sampling_params":{"extra_args":{"a":1}}"#, nil),
            (#""sampling_params":[{"extra_args":1}]"#, nil), (#""vllm_xargs":"kv_transfer_params""#, nil),
            (#""user":{"kv_transfer_params":1}"#, nil),
        ]
    )
    func nestedMembers(member: String, refused: String?) async throws {
        let body = #"{"model":"m","token_ids":[1,2,3],"prompt":"hi",\#(member)}"#
        for path in ["/v1/completions", "/inference/v1/generate"] {
            try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
                let asked: [EnvoyFrame] = [
                    .requestHeaders([(":path", path), ("x-request-id", "id")]), .requestBody(body, endOfStream: true),
                ]
                let replies = try await picker.exchange(asked, replies: refused == nil ? 2 : 1)
                guard let refused else {
                    #expect(replies.first?.status != 400)
                    return
                }
                let text = #"inference error: BadRequest - member "\#(refused)" may not be sent by clients"#
                #expect(replies == [immediate(400, text)])
            }
        }
    }

    @Test(
        "Members that endpoints tell each other by are refused from clients",
        arguments: [
            "kv_transfer_params", "ec_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room",
            "disaggregated_params",
        ]
    )
    func forgedMembers(name: String) async throws {
        let body = #"{"model":"m","prompt":"hi","\#(name)":null}"#
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let replies = try await picker.exchange(frames(body), replies: 1)
            #expect(
                replies == [
                    immediate(400, #"inference error: BadRequest - member "\#(name)" may not be sent by clients"#)
                ]
            )
        }
        // Where nothing is disaggregated they mean nothing.
        try await withPicker([Pod(0, 0, 0.1)]) { picker in
            let replies = try await picker.exchange(frames(body), replies: 2)
            #expect(header(destination, of: replies.first) == "192.168.1.1:8000")
        }
    }

    @Test("They are refused within the arguments that vLLM makes of others, too")
    func forgedArguments() async throws {
        let body = #"{"model":"m","prompt":"hi","vllm_xargs":{"kv_transfer_params":"x"}}"#
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode)) { picker in
            let replies = try await picker.exchange(frames(body), replies: 1)
            let text =
                #"inference error: BadRequest - member "vllm_xargs.kv_transfer_params" may not be sent by clients"#
            #expect(replies == [immediate(400, text)])
        }
    }

    @Test("A request with such members does not wait for its turn to be refused")
    func forgedMembersBeforeTheQueue() async throws {
        var detector = ConcurrencyDetector()
        detector.maxConcurrency = 1
        let admission = AdmissionSettings(detector: detector, flowControl: FlowControlSettings())
        let pods = [Pod(0, 0, 0.1).role("both")]
        try await withPicker(pods, scheduler: scheduler(prefillAndDecode), admission: admission) { picker in
            let running = try await picker.begin(frames(prompt("hi")))
            _ = try await running.replies(2)
            let waiting = try await picker.begin(frames(prompt("hi")))
            try await picker.waitUntil(waiting: 1)
            let body = #"{"model":"m","prompt":"hi","kv_transfer_params":{}}"#
            let replies = try await picker.exchange(frames(body), replies: 1)
            let text = #"inference error: BadRequest - member "kv_transfer_params" may not be sent by clients"#
            #expect(replies == [immediate(400, text)])
            #expect(picker.admission?.waiting.requests == 1)
            await running.end()
            _ = try await waiting.replies(2)
            await waiting.end()
        }
    }

    @Test("Images are encoded on the encode endpoints, all of which the header names")
    func encode() async throws {
        let configuration = """
            plugins:
            - type: encode-filter
            - type: decode-filter
            - type: queue-scorer
            - {type: max-score-picker, parameters: {maxNumOfEndpoints: 2}}
            - type: always-disagg-multimodal-decider
            - type: disagg-profile-handler
              parameters: {deciders: {encode: always-disagg-multimodal-decider}}
            schedulingProfiles:
            - {name: encode, plugins: [{pluginRef: encode-filter}, {pluginRef: queue-scorer}, {pluginRef: max-score-picker}]}
            - {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]}
            """
        let pods = [Pod(0, 0, 0.1).role("decode"), Pod(1, 5, 0.1).role("encode"), Pod(2, 0, 0.1).role("encode")]
        let image = #"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:x"}}]}"#
        let text = #"{"role":"user","content":"{\"type\":\"image_url\"}"}"#
        try await withPicker(pods, scheduler: scheduler(configuration)) { picker in
            let seen = try await picker.exchange(
                frames(#"{"model":"m","messages":[\#(image)]}"#, path: chat),
                replies: 2
            )
            #expect(header(encoders, of: seen.first) == "192.168.1.3:8000,192.168.1.2:8000")
            #expect(header(destination, of: seen.first) == "192.168.1.1:8000")
            let read = try await picker.exchange(
                frames(#"{"model":"m","messages":[\#(text)]}"#, path: chat),
                replies: 2
            )
            #expect(header(encoders, of: read.first) == nil)
        }
    }

    @Test("Data parallel: the request goes to the primary port, the header names the rank")
    func dataParallel() async throws {
        let configuration = """
            plugins:
            - type: queue-scorer
            - {type: data-parallel-profile-handler, parameters: {primaryPort: 9000}}
            """
        try await withPicker([Pod(0, 3, 0.1), Pod(1, 0, 0.1)], scheduler: scheduler(configuration)) { picker in
            let replies = try await picker.exchange(frames(prompt("hi")), replies: 2)
            #expect(header(destination, of: replies.first) == "192.168.1.2:9000")
            #expect(header("x-data-parallel-host-port", of: replies.first) == "192.168.1.2:8000")
            // The gateway tells the destination as it got it: that is no retry.
            let stream = try await picker.begin(frames(prompt("hi again")))
            _ = try await stream.replies(2)
            #expect(picker.inFlight == [0, 1])
            let served = EnvoyFrame.responseHeaders([(":status", "200")])
                .with(metadata: "envoy.lb", "x-gateway-destination-endpoint-served", ["192.168.1.2:9000"])
            await stream.send(served.bytes)
            _ = try await stream.replies(1)
            #expect(picker.inFlight == [0, 1])
            #expect(picker.pool.snapshot.scrapes.allSatisfy { $0.reachable })
            await stream.end()
        }
    }

    @Test(
        "A conditional decode is 412 without the prompt's cache, whatever the profile handler",
        arguments: [true, false]
    )
    func conditionalDecode(hasDecider: Bool) async throws {
        let configuration = """
            plugins:
            - {type: approx-prefix-cache-producer, parameters: {autoTune: false, blockSizeTokens: 64}}
            - type: prefix-cache-scorer
            - type: max-score-picker
            \(hasDecider ? "- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 100}}" : "")
            """
        let headers = [("prefer", "if-available")]
        try await withPicker([Pod(0, 0, 0.1)], scheduler: scheduler(configuration)) { picker in
            let long = String(repeating: "words of a prompt ", count: 100)
            let cold = try await picker.exchange(frames(prompt(long), headers), replies: 1)
            #expect(cold.first?.status == 412)
            _ = try await picker.exchange(frames(prompt(long)), replies: 2)
            let warm = try await picker.exchange(frames(prompt(long), headers), replies: 2)
            #expect(header(destination, of: warm.first) == "192.168.1.1:8000")
        }
    }

    @Test("Data parallel: what the gateway says was served is the pick when it is where the pick was sent")
    func dataParallelServed() async throws {
        let configuration = """
            plugins:
            - {type: queue-scorer}
            - {type: max-score-picker, parameters: {maxNumOfEndpoints: 2}}
            - {type: data-parallel-profile-handler, parameters: {primaryPort: 8000}}
            schedulingProfiles:
            - {name: default, plugins: [{pluginRef: queue-scorer}, {pluginRef: max-score-picker}]}
            """
        // Two ranks of one server, the second of them idle, and another server.
        let pods = [Pod(0, 5, 0.1), Pod(0, 0, 0.1).rank(1), Pod(1, 1, 0.1)]
        func inFlight(served: String) async throws -> [Int] {
            try await withPicker(pods, scheduler: scheduler(configuration)) { picker in
                let stream = try await picker.begin(frames(prompt("hi")))
                let decision = try await stream.replies(2)
                #expect(header(destination, of: decision.first) == "192.168.1.1:8000,192.168.1.2:8000")
                #expect(header("x-data-parallel-host-port", of: decision.first) == "192.168.1.1:8001")
                #expect(picker.inFlight == [0, 1, 0])
                await stream.send(
                    EnvoyFrame.responseHeaders([(":status", "200")])
                        .with(metadata: "envoy.lb", "x-gateway-destination-endpoint-served", [served]).bytes
                )
                _ = try await stream.replies(1)
                let found = picker.inFlight
                #expect(picker.pool.snapshot.scrapes.map(\.reachable) == [true, served.hasPrefix("192.168.1.1"), true])
                stream.cancel()
                return found
            }
        }
        #expect(try await inFlight(served: "192.168.1.1:8000") == [0, 1, 0])
        #expect(try await inFlight(served: "192.168.1.2:8000") == [0, 0, 1])
    }
}
