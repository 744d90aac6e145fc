import Bytes
import TestSupport
import Testing

@Suite("What orchestration does where an engine's ways are special", .serialized, .showsLogs)
struct OrchestrationRecoveryTests {
    typealias Plan = Disaggregated.Plan

    @Test("A silent decode whose endpoint can no longer be scraped is run again, and answered whole")
    func foundDead() async throws {
        let server = try DyingServer()
        var plan = Plan(.nixlv2, .handoff).withoutBreakers()
        plan.decodes = 1
        plan.others = [("127.0.0.1:\(server.port)", "decode")]
        try await withDisaggregated(plan) { deployment in
            let other = deployment.decodes.lowerBound
            try await deployment.control("POST", "/sim/stop?server=\(other)")
            try await eventually("the other is known to be away") {
                let endpoint = try await deployment.endpoints()[other]
                return endpoint["scrape"]["reachable"].bool == false && endpoint["fresh"].bool == false
            }
            let named = Disaggregated.named(Ask.completion("Tell me"))
            async let answer = deployment.client.send(named.request)
            try await server.wait()
            try await deployment.control("POST", "/sim/start?server=\(other)")
            try await deployment.waitUntilFresh()
            // Only its scrapes tell that it is dead: nothing limits the decode's time, and its connection stays.
            #expect(try await deployment.event("rescued") == 0)
            server.die()
            let response = try await answer
            let legs = try await deployment.legs(of: named.id)
            #expect(response.status == 200, "\(response.text) \(legs)")
            #expect(try response.usage["completion_tokens"].int == 5)
            #expect(response["x-apus-attempts"] == "2")
            #expect(try await deployment.event("rescued") == 1)
            #expect(legs.map(\.kind) == ["prefill", "prefill", "decode"], "\(legs)")
            let outcomes = try await deployment.apus.accessLine(named.id)["legs"].array.map { $0["outcome"].string }
            #expect(outcomes == ["ok", "timeout", "ok", "ok"])
            // Envoy lets go of the first.
            try await server.waitForEnd()
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "Where endpoints that decode compute no prompts, every prompt is computed elsewhere, whatever the decider says",
        arguments: Disaggregated.Mode.allCases
    )
    func alwaysSplit(_ mode: Disaggregated.Mode) async throws {
        var plan = Plan(.sglang, mode)
        plan.wantsNoPrefill = true
        try await withDisaggregated(plan) { deployment in
            for stream in [false, true] {
                let (id, response) = try await deployment.send(Ask.chat("Tell me", stream: stream))
                let legs = try await deployment.legs(of: id)
                #expect(response.status == 200, "\(response.text) \(legs)")
                #expect(legs.map(\.kind).sorted() == ["decode", "prefill"], "\(legs)")
            }
            try await deployment.waitUntilIdle()
        }
        plan.prefills = 0
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 503, "\(response.text)")
            #expect(response.text.contains("no endpoint is available"))
            #expect(try await deployment.legs(of: id).isEmpty)
        }
    }

    @Test("Others keep to their decider")
    func decided() async throws {
        var plan = Plan()
        plan.wantsNoPrefill = true
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 200)
            #expect(try await deployment.legs(of: id).map(\.kind) == ["monolithic"])
        }
    }

    @Test("A prompt of which the gateway shows nothing is refused where endpoints that decode compute none")
    func hidden() async throws {
        var plan = Plan(.sglang, .handoff)
        plan.envoy = { text in
            text.replacing("request_body_mode: FULL_DUPLEX_STREAMED", with: "request_body_mode: NONE")
                .replacing("request_trailer_mode: SEND", with: "request_trailer_mode: SKIP")
        }
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 503, "\(response.text)")
            #expect(response.text.contains("too little of the request's body"))
            #expect(try await deployment.legs(of: id).isEmpty)
        }
    }

    @Test(
        "With a threshold an endpoint that decodes is asked first, and a prefill made only when it has too little",
        arguments: Disaggregated.Mode.allCases
    )
    func asksFirst(_ mode: Disaggregated.Mode) async throws {
        var plan = Plan(.sharedStorage, mode)
        plan.decodes = 1
        try await withDisaggregated(plan) { deployment in
            let prompt = String(repeating: "Tell me more. ", count: 100)
            let body = Ask.completionBody(prompt, tokens: 5).dropLast() + #", "cache_hit_threshold": 0.5}"#
            let request = TestRequest.post("/v1/completions", json: String(body))
            let (cold, first) = try await deployment.send(request)
            let coldLegs = try await deployment.legs(of: cold)
            #expect(first.status == 200, "\(first.text) \(coldLegs)")
            #expect(try first.usage["completion_tokens"].int == 5)
            #expect(coldLegs.count == 3, "\(coldLegs)")
            let outcomes = try await deployment.apus.accessLine(cold)["legs"].array.map { $0["outcome"].string }
            #expect(outcomes == ["cache_threshold", "ok", "ok"])

            let (warm, second) = try await deployment.send(request)
            let warmLegs = try await deployment.legs(of: warm)
            #expect(second.status == 200, "\(second.text) \(warmLegs)")
            #expect(try second.usage["completion_tokens"].int == 5)
            #expect(second["x-apus-attempts"] == "0")
            #expect(Set(warmLegs.map(\.server)) == Set(deployment.decodes), "\(warmLegs)")
            #expect(try second.usage["prompt_tokens_details"]["cached_tokens"].int ?? 0 > 0, "\(second.text)")
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "A text that TensorRT-LLM's context server ends is the answer, without what it says to other servers",
        arguments: Disaggregated.Mode.allCases
    )
    func endsEarly(_ mode: Disaggregated.Mode) async throws {
        let server = try RawServer { connection in
            while let request = try await connection.request() {
                guard request.head.hasPrefix("POST") else {
                    try await connection.respond("404 Not Found", body: "")
                    continue
                }
                let body =
                    #"{"id":"1","object":"text_completion","model":"m","choices":[{"index":0,"text":"yes","#
                    + #""finish_reason":"stop","disaggregated_params":{"opaque_state":"secret"}}],"#
                    + #""usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8}}"#
                try await connection.respond(headers: [("content-type", "application/json")], body: body)
            }
        }
        var plan = Plan(.trtllm, mode)
        plan.prefills = 0
        plan.others = [("127.0.0.1:\(server.port)", "prefill")]
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 200, "\(response.text)")
            #expect(response.text.contains("yes"))
            #expect(!response.text.contains("secret") && !response.text.contains("disaggregated_params"))
            #expect(response["x-apus-attempts"] == "1")
            #expect(response["content-type"] == "application/json")
            #expect(try await deployment.legs(of: id).isEmpty)
            let line = try await deployment.apus.accessLine(id)
            #expect(line["promptTokens"].int == 7, "\(line)")
            try await deployment.waitUntilIdle()
        }
    }

    @Test("Fields that a relayed answer repeats reach the client, and so do bytes that are no UTF-8")
    func fields() async throws {
        let server = try RawServer { connection in
            while let request = try await connection.request() {
                guard request.head.hasPrefix("POST") else {
                    try await connection.respond("404 Not Found", body: "")
                    continue
                }
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Multi: a\r\nX-Multi: b\r\nX-Latin: caf\u{e9}\r\n"
                    + "Content-Length: 2\r\n\r\n{}"
                try await connection.socket.write(head.unicodeScalars.map { UInt8($0.value) })
            }
        }
        var plan = Plan(.nixlv2, .relay)
        plan.decodes = 0
        plan.others = [("127.0.0.1:\(server.port)", "decode")]
        try await withDisaggregated(plan) { deployment in
            let (_, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 200, "\(response.text)")
            #expect(response["x-multi"] == "a, b")
            #expect(response["x-latin"]?.hasPrefix("caf") == true)
            #expect(response["x-latin"]?.contains("\u{fffd}") == false)
        }
    }
}

/// A model server that is silent about every prompt, and can die without ending the connections over which prompts came.
private final class DyingServer: Sendable {
    private struct State {
        var accepting: Task<Void, Never>?
        var isDead = false
    }

    let port: Int
    private let listener: Socket
    private let state = Lock(State())
    private let prompts = AsyncStream.makeStream(of: Void.self)
    private let ends = AsyncStream.makeStream(of: Void.self)

    init() throws {
        let listener = try Socket.listen()
        self.listener = listener
        port = listener.port
        let accepting = Task { [weak self] in
            while !Task.isCancelled, let socket = try? await listener.accept() {
                Task { try? await self?.serve(RawConnection(socket)) }
            }
        }
        state.withLock { $0.accepting = accepting }
    }

    deinit { die() }

    private func serve(_ connection: RawConnection) async throws {
        while let request = try await connection.request(), !state.withLock({ $0.isDead }) {
            guard request.head.hasPrefix("POST") else {
                let page = ["running", "waiting"].map { "vllm:num_requests_\($0) 0\n" }.joined()
                try await connection.respond(body: page + "vllm:kv_cache_usage_perc 0\n")
                continue
            }
            prompts.continuation.yield()
            await connection.waitForEnd()
            ends.continuation.yield()
        }
    }

    /// Returns when a prompt has come.
    func wait() async throws {
        for await _ in prompts.stream { return }
    }

    /// Returns when a prompt's connection has ended.
    func waitForEnd() async throws {
        for await _ in ends.stream { return }
    }

    /// Takes no connection any more, and answers nobody.
    func die() {
        state.withLock { state in
            state.isDead = true
            return state.accepting.take()
        }?.cancel()
        // A socket that is shut down listens no more.
        listener.hangUp()
    }
}
