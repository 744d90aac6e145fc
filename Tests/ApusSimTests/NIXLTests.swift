import Foundation
import TestSupport
import Testing

private func decodeBody(_ parameters: String, maxTokens: Int = 4, more: String = "") -> String {
    completion("\"kv_transfer_params\":\(parameters)\(more)", maxTokens: maxTokens)
}

/// Puts another value in the place of a member's.
private func changing(_ parameters: String, _ name: String, to value: String?) throws -> String {
    var members = try #require(JSONSerialization.jsonObject(with: Data(parameters.utf8)) as? [String: Any])
    members[name] = try value.map { try JSONSerialization.jsonObject(with: Data($0.utf8), options: .fragmentsAllowed) }
    return String(decoding: try JSONSerialization.data(withJSONObject: members), as: UTF8.self)
}

@Suite("NIXL hand-off", .timeLimit(.minutes(1)))
struct NIXLTests {
    private func prefill(_ fleet: Fleet, server: Int = 0) async throws -> String {
        let answer = try await fleet.post("/v1/completions", completion(remoteDecode), server: server)
        #expect(answer.status == 200)
        return try answer.raw("kv_transfer_params")
    }

    @Test(
        "A decode that presents a prefill's parameters computes nothing, and the prefill's blocks are free afterwards"
    )
    func handsOver() async throws {
        let fleet = try Fleet.nixl()
        let parameters = try await prefill(fleet)
        #expect(try await fleet.gauge("leases") == 1)
        #expect(try await fleet.metric("vllm:kv_cache_usage_perc{").map { $0 > 0 } == true)
        #expect(try await fleet.metric("vllm:num_requests_running{") == 0)
        let answer = try await fleet.post("/v1/completions", decodeBody(parameters), server: 1)
        #expect(answer.status == 200)
        #expect(answer.integer("usage.completion_tokens") == 4)
        try await fleet.wait("redeemed")
        #expect(try await fleet.metric("vllm:kv_cache_usage_perc{") == 0)
        let external =
            "vllm:prompt_tokens_by_source_total{engine=\"0\",model_name=\"tiny\",source=\"external_kv_transfer\"}"
        let computed = "vllm:prompt_tokens_by_source_total{engine=\"0\",model_name=\"tiny\",source=\"local_compute\"}"
        #expect(try await fleet.metric(external, server: 1) == 100)
        #expect(try await fleet.metric(computed, server: 1) == 0)
        #expect(try await fleet.metric(computed, server: 0) == 100)
        #expect(try await fleet.audit(1).string("legs.0.leg") == "decode")
        #expect(try await fleet.audit(0).string("legs.0.kv_id") == fleet.audit(1).string("legs.0.kv_id"))
    }

    @Test("Parameters have vLLM's members, and pass on whole, integers of 19 digits included")
    func forwardsVerbatim() async throws {
        let fleet = try Fleet.nixl()
        let parameters = try await prefill(fleet)
        #expect(parameters.contains("\"remote_block_ids\":[["))
        #expect(parameters.contains("\"remote_port\":\(fleet.ports[0])"))
        #expect(parameters.contains("9007199254740993123"))
        _ = try await fleet.post("/v1/completions", decodeBody(parameters), server: 1)
        #expect(try await fleet.counter("verbatim") == 1)
        let other = try await prefill(fleet).replacing("9007199254740993123", with: "9007199254740993124")
        _ = try await fleet.post("/v1/completions", decodeBody(other), server: 1)
        #expect(try await fleet.counter("altered") == 1)
    }

    @Test(
        "A decode gets nothing for parameters that are not its own, not whole or not new",
        arguments: ["engine", "host", "port", "unknown", "used", "expired", "restarted", "stopped"]
    )
    func refusesStrangers(_ wrong: String) async throws {
        let fleet = try Fleet.nixl()
        var parameters = try await prefill(fleet)
        switch wrong {
        case "engine": parameters = try changing(parameters, "remote_engine_id", to: "\"another\"")
        case "host": parameters = try changing(parameters, "remote_host", to: "\"127.0.0.9\"")
        case "port": parameters = try changing(parameters, "remote_port", to: "\(fleet.ports[1])")
        case "unknown": parameters = try changing(parameters, "remote_request_id", to: "\"nobody\"")
        case "used": #expect(try await fleet.post("/v1/completions", decodeBody(parameters), server: 1).status == 200)
        case "expired": try await fleet.control("POST", "/sim/expire?server=0")
        case "restarted": try await fleet.control("POST", "/sim/restart?server=0")
        default: try await fleet.control("POST", "/sim/stop?server=0")
        }
        let answer = try await fleet.post("/v1/completions", decodeBody(parameters), server: 1)
        #expect(answer.status == 500)
        #expect(answer.string("error.message") == "Internal server error")
        let stream = try await fleet.post(
            "/v1/completions",
            decodeBody(parameters, more: ",\"stream\":true"),
            server: 1
        )
        #expect(stream.status == 200)
        #expect(stream.events.count == 2)
        #expect(stream.events.first?.contains("\"code\":500") == true)
        #expect(try await fleet.metric("vllm:nixl_num_failed_transfers_total{", server: 1) == 2)
    }

    @Test("With the policy recompute, what cannot be had is computed")
    func recomputes() async throws {
        let fleet = try Fleet.nixl("--kv-load-failure-policy", "recompute")
        let parameters = try changing(try await prefill(fleet), "remote_engine_id", to: "\"another\"")
        let answer = try await fleet.post("/v1/completions", decodeBody(parameters), server: 1)
        #expect(answer.status == 200)
        #expect(try await fleet.audit(1).integer("legs.0.external_tokens") == 0)
        #expect(try await fleet.counter("local_fallback", server: 1) == 1)
    }

    @Test(
        "Parameters without a member, or with null in its place, make the decode compute by itself",
        arguments: ["remote_engine_id", "remote_request_id", "remote_host", "remote_port", "remote_block_ids"]
    )
    func computesLocally(_ member: String) async throws {
        let fleet = try Fleet.nixl()
        let parameters = try await prefill(fleet)
        for value in [nil, "null"] {
            let body = decodeBody(try changing(parameters, member, to: value))
            #expect(try await fleet.post("/v1/completions", body, server: 1).status == 200)
        }
        #expect(try await fleet.counter("partial_params", server: 1) == 2)
        #expect(try await fleet.counter("claimed", server: 0) == 0)
        #expect(try await fleet.post("/v1/completions", decodeBody("null"), server: 1).status == 200)
    }

    @Test("A lease that nobody redeems ends, its blocks are free, and the metrics count it")
    func expires() async throws {
        let fleet = try Fleet.nixl("--kv-lease", "20ms")
        _ = try await prefill(fleet)
        try await fleet.wait("expired")
        #expect(try await fleet.metric("vllm:nixl_num_kv_expired_reqs_total{") == 1)
        #expect(try await fleet.metric("vllm:kv_cache_usage_perc{") == 0)
    }

    @Test("A decode in the queue keeps its lease alive, and frees it when its client leaves")
    func keepsAlive() async throws {
        // The decode's own lease only sets how often it says that it still waits.
        let fleet = try Fleet.nixl()
        let decodes = try Fleet(
            ["--kv-connector", "nixl", "--kv-lease", "300ms", "--max-num-seqs", "1", "--inter-token-latency", "1h"]
        )
        let busy = try await decodes.begin("/v1/completions", completion("", maxTokens: 500))
        try await decodes.wait("request")
        let parameters = try await prefill(fleet)
        let waiting = try await decodes.begin("/v1/completions", decodeBody(parameters))
        try await fleet.wait("heartbeat", 3)
        #expect(try await fleet.gauge("leases") == 1)
        waiting.hangUp()
        try await fleet.wait("released")
        #expect(try await fleet.metric("vllm:kv_cache_usage_perc{") == 0)
        busy.hangUp()
    }

    @Test("A prefill whose client leaves frees its blocks at once and leaves no lease")
    func abortsPrefills() async throws {
        let fleet = try Fleet.nixl("--time-to-first-token", "1h")
        let client = try await fleet.begin(
            "/v1/completions",
            completion(remoteDecode),
            headers: [("x-request-id", "r")]
        )
        try await fleet.wait("prefill")
        client.hangUp()
        try await fleet.wait("disconnect")
        #expect(try await fleet.gauge("leases") == 0)
        #expect(try await fleet.metric("vllm:kv_cache_usage_perc{") == 0)
        let audit = try await fleet.audit(0, "&request_id=r")
        #expect(audit.value("legs.0.disconnect") as? Bool == true)
        #expect(audit.string("legs.0.status") == "aborted")
    }

    @Test(
        "All paths hand over; the generate path takes parameters in extra_args only",
        arguments: [
            ("/v1/completions", "\"prompt\":\"hi there\",\"max_tokens\":1"),
            ("/v1/chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":1"),
            ("/v1/responses", "\"input\":\"hi\",\"max_output_tokens\":1"),
            ("/v1/messages", "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":1"),
            ("/inference/v1/generate", "\"token_ids\":[1,2,3]"),
        ]
    )
    func servesPaths(path: String, members: String) async throws {
        let fleet = try Fleet.nixl()
        let isGenerate = path.hasSuffix("generate")
        func body(_ parameters: String) -> String {
            isGenerate
                ? "{\"model\":\"tiny\",\(members),\"sampling_params\":{\"max_tokens\":1,\"extra_args\":{\(parameters)}}}"
                : "{\"model\":\"tiny\",\(members),\(parameters)}"
        }
        let first = try await fleet.post(path, body(remoteDecode))
        #expect(first.status == 200)
        let parameters = "\"kv_transfer_params\":\(try first.raw("kv_transfer_params"))"
        if isGenerate {
            let ignored = "{\"model\":\"tiny\",\(members),\(parameters)}"
            #expect(try await fleet.post(path, ignored, server: 1).status == 200)
            #expect(try await fleet.counter("claimed") == 0)
            #expect(first.integer("choices.0.index") == 0)
        }
        #expect(try await fleet.post(path, body(parameters), server: 1).status == 200)
        #expect(try await fleet.counter("claimed") == 1)
    }

    @Test("A streamed prefill gives no parameters, and a server without connector knows none")
    func givesNoParameters() async throws {
        let fleet = try Fleet.nixl()
        let stream = try await fleet.post("/v1/completions", completion(remoteDecode + ",\"stream\":true"))
        #expect(!stream.body.contains("remote_engine_id"))
        let plain = try Fleet([])
        let answer = try await plain.post("/v1/completions", completion(remoteDecode))
        #expect(answer.body.contains("\"kv_transfer_params\":null"))
        #expect(try await plain.audit().string("legs.0.leg") == "prefill")
    }

    @Test("Fewer tokens than min_tokens are refused")
    func refusesMinTokens() async throws {
        let fleet = try Fleet([])
        #expect(try await fleet.post("/v1/completions", completion("\"min_tokens\":2")).status == 400)
        #expect(try await fleet.post("/v1/completions", completion("\"min_tokens\":1")).status == 200)
    }

    @Test("Servers of two processes hand over as those of one do")
    func crossesProcesses() async throws {
        let prefill = try Simulator("--kv-connector", "nixl")
        let decode = try Simulator("--kv-connector", "nixl")
        let first = try await prefill.post("/v1/completions", completion(remoteDecode))
        let parameters = try first.raw("kv_transfer_params")
        #expect(try await decode.post("/v1/completions", decodeBody(parameters)).status == 200)
        #expect(try await prefill.get("/sim/wait?event=redeemed").status == 200)
        #expect(try await decode.post("/v1/completions", decodeBody(parameters)).status == 500)
        #expect(try await decode.get("/sim/audit").integer("legs.0.external_tokens") == 100)
    }
}
