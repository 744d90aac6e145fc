import Foundation
import TestSupport
import Testing

@Suite("Other ways to hand over", .timeLimit(.minutes(1)))
struct ConnectorTests {
    // MARK: Shared storage

    @Test(
        "What a prefill has computed is found in the shared storage, in this process and from others",
        arguments: [true, false]
    )
    func sharesStorage(isDirectory: Bool) async throws {
        let directory = try TemporaryDirectory()
        let flags =
            ["--kv-connector", "shared-storage"] + (isDirectory ? ["--shared-storage-path", directory.path] : [])
        let fleet = try Fleet(["--count", "2"] + flags)
        let other = isDirectory ? try Fleet(flags) : fleet
        let server = isDirectory ? 0 : 1
        let threshold = completion("\"cache_hit_threshold\":0.8", maxTokens: 5)
        let early = try await other.post("/v1/completions", threshold, server: server)
        #expect(early.status == 200)
        #expect(early.string("choices.0.finish_reason") == "cache_threshold")
        #expect(early.integer("usage.completion_tokens") == 0)
        let prefill = try await fleet.post("/v1/completions", completion("\"cache_hit_threshold\":0"))
        #expect(prefill.string("choices.0.finish_reason") == "length")
        let late = try await other.post("/v1/completions", threshold, server: server)
        #expect(late.string("choices.0.finish_reason") == "length")
        #expect(try await other.audit(server).integer("legs.1.external_tokens") == 96)
    }

    // MARK: TensorRT-LLM

    private func context(_ fleet: Fleet) async throws -> Simulator.Answer {
        try await fleet.post(
            "/v1/completions",
            completion("\"disaggregated_params\":{\"request_type\":\"context_only\"}")
        )
    }

    private func generation(_ parameters: String) -> String {
        let changed = parameters.replacing("context_only", with: "generation_only")
        return completion("\"disaggregated_params\":\(changed)", maxTokens: 3)
    }

    @Test("TensorRT-LLM's generation phase takes over from the context phase, once")
    func generates() async throws {
        let fleet = try Fleet(["--engine", "trtllm", "--count", "2"])
        let answer = try await context(fleet)
        #expect(answer.value("prompt_token_ids") as? [Int] == Array(1...100))
        #expect((answer.value("choices.0.disaggregated_params.first_gen_tokens") as? [Int])?.count == 1)
        let body = generation(try answer.raw("disaggregated_params"))
        #expect(try await fleet.post("/v1/completions", body, server: 1).status == 200)
        #expect(try await fleet.audit(1).integer("legs.0.external_tokens") == 100)
        #expect(try await fleet.counter("verbatim") == 1)
        #expect(try await fleet.post("/v1/completions", body, server: 1).status == 500)
        #expect(try await fleet.gauge("pinned") == 0)
    }

    @Test("A context phase that no generation takes over is reclaimed after its time only")
    func reclaims() async throws {
        let fleet = try Fleet(["--engine", "trtllm", "--kv-abort-timeout", "20ms"])
        _ = try await context(fleet)
        try await fleet.wait("expired")
        #expect(try await fleet.gauge("pinned") == 0)
    }

    // MARK: Encoders

    @Test(
        "Encoders tell where embeddings are, and the next leg finds them there",
        arguments: ["nixl", "nixl-v2", "example"]
    )
    func encodes(_ connector: String) async throws {
        let fleet = try Fleet(["--count", "2", "--role", "encode,both", "--ec-connector", connector])
        let content = "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://a/b.png\"}}]"
        func chat(_ more: String) -> String {
            "{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\(content)}],\"max_tokens\":1\(more)}"
        }
        let primer = try await fleet.post("/v1/chat/completions", chat(""))
        #expect(primer.status == 200)
        #expect(try await fleet.audit().string("legs.0.leg") == "encode")
        guard connector != "example" else {
            #expect(primer.value("ec_transfer_params") is NSNull)
            return
        }
        let parameters = try #require(primer.value("ec_transfer_params") as? [String: [String: Any]])
        let item = try #require(parameters.first?.value)
        #expect(item["peer_port"] as? Int == fleet.ports[0])
        #expect((item["item_indices"] != nil) == (connector == "nixl-v2"))
        let next = chat(",\"ec_transfer_params\":\(try primer.raw("ec_transfer_params"))")
        #expect(try await fleet.post("/v1/chat/completions", next, server: 1).status == 200)
        try await fleet.wait("ec_hit", server: 1)
        #expect(try await fleet.post("/v1/chat/completions", chat(""), server: 1).status == 200)
        try await fleet.wait("ec_miss", server: 1)
    }
}
