import Foundation
import Testing

private func completion(_ prompt: String, _ more: String = "\"max_tokens\":5,\"ignore_eos\":true") -> String {
    "{\"model\":\"tiny\",\"prompt\":\"\(prompt)\",\(more)}"
}

@Suite("Answers")
struct AnswerTests {
    @Test("A completion has as many tokens as were asked for, and its usage")
    func completes() async throws {
        let simulator = try Simulator()
        let answer = try await simulator.post("/v1/completions", completion("Say hello to the world"))
        #expect(answer.status == 200)
        #expect(answer.string("object") == "text_completion")
        #expect(answer.string("choices.0.finish_reason") == "length")
        #expect(answer.string("choices.0.text")?.isEmpty == false)
        #expect(answer.integer("usage.prompt_tokens") == 7)
        #expect(answer.integer("usage.completion_tokens") == 5)
        #expect(answer.integer("usage.total_tokens") == 12)
        #expect(answer.headers["x-inference-port"] == "\(simulator.ports[0])")
        #expect(answer.headers["x-inference-pod"] == "apus-sim-0")
    }

    @Test("A stream gives the text that the whole answer of the same seed gives, then the usage")
    func streams() async throws {
        let body = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":6,\"ignore_eos\":true}"
        let whole = try await Simulator().post("/v1/chat/completions", "{\"model\":\"tiny\"," + body)
        let answer = try await Simulator().post(
            "/v1/chat/completions",
            "{\"model\":\"tiny\",\"stream\":true,\"stream_options\":{\"include_usage\":true}," + body
        )
        #expect(answer.headers["content-type"]?.hasPrefix("text/event-stream") == true)
        #expect(answer.events.last == "[DONE]")
        let chunks = answer.events.dropLast().map { Simulator.Answer(status: 0, headers: [:], body: $0) }
        #expect(chunks.count == 8)
        #expect(chunks.first?.string("choices.0.delta.role") == "assistant")
        let text = chunks.compactMap { $0.string("choices.0.delta.content") }.joined()
        #expect(text == whole.string("choices.0.message.content"))
        #expect(chunks.dropLast().last?.string("choices.0.finish_reason") == "length")
        #expect(chunks.last?.integer("usage.completion_tokens") == 6)
        #expect(chunks.last?.integer("usage.prompt_tokens_details.cached_tokens") == 0)
    }

    @Test("Echo mode answers with the last user message, as far as the limit allows")
    func echoes() async throws {
        let simulator = try Simulator("--mode", "echo")
        let messages =
            "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Größe \\u00e9 \\ud83d\\ude00!\"}]}]"
        let whole = try await simulator.post("/v1/chat/completions", "{\"model\":\"tiny\",\(messages)}")
        #expect(whole.string("choices.0.message.content") == "Größe é 😀!")
        #expect(whole.string("choices.0.finish_reason") == "stop")
        let short = try await simulator.post(
            "/v1/chat/completions",
            "{\"model\":\"tiny\",\"max_tokens\":1,\(messages)}"
        )
        #expect(short.string("choices.0.finish_reason") == "length")
    }

    @Test("A conversation that goes on is cached, its answer included, and the metrics tell so")
    func cachesConversations() async throws {
        let simulator = try Simulator("--mode", "echo", "--max-model-len", "4096")
        let words = String(repeating: "some words ", count: 40)
        let question = "{\"role\":\"user\",\"content\":\"\(words)\"}"
        let first = try await simulator.post("/v1/chat/completions", "{\"model\":\"tiny\",\"messages\":[\(question)]}")
        #expect(first.integer("usage.prompt_tokens_details.cached_tokens") == 0)
        let answer = "{\"role\":\"assistant\",\"content\":\"\(words)\"}"
        let second = try await simulator.post(
            "/v1/chat/completions",
            "{\"model\":\"tiny\",\"messages\":[\(question),\(answer),{\"role\":\"user\",\"content\":\"go on\"}]}"
        )
        let cached = try #require(second.integer("usage.prompt_tokens_details.cached_tokens"))
        let total = try #require(first.integer("usage.total_tokens"))
        #expect(cached == total / 16 * 16)
        #expect(try await simulator.metric("vllm:prefix_cache_hits_total{") == Double(cached))
    }

    @Test("The other APIs answer in their own forms")
    func answersOtherAPIs() async throws {
        let simulator = try Simulator()
        let messages = try await simulator.post(
            "/v1/messages",
            "{\"model\":\"tiny\",\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"system\":\"be nice\"}"
        )
        #expect(messages.string("type") == "message")
        #expect(messages.integer("usage.output_tokens") == 2)
        let responses = try await simulator.post("/v1/responses", "{\"model\":\"tiny\",\"input\":\"hi\"}")
        #expect(responses.string("object") == "response")
        #expect(responses.string("output.0.content.0.text")?.isEmpty == false)
        let stream = try await simulator.post(
            "/v1/messages",
            "{\"model\":\"tiny\",\"max_tokens\":2,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
        )
        let types = stream.events.map { Simulator.Answer(status: 0, headers: [:], body: $0).string("type") }
        #expect(
            types == [
                "message_start", "content_block_start", "content_block_delta", "content_block_delta",
                "content_block_stop", "message_delta", "message_stop",
            ]
        )
        let embeddings = try await simulator.post(
            "/v1/embeddings",
            "{\"model\":\"tiny\",\"input\":[\"hi\",\"ho\",\"hi\"],\"dimensions\":4}"
        )
        let vectors = (0..<3).map { embeddings.value("data.\($0).embedding") as? [Double] }
        #expect(vectors[0]?.count == 4)
        #expect(vectors[0] == vectors[2])
        #expect(vectors[0] != vectors[1])
    }

    @Test("Several answers and several prompts are several choices, in streams as well")
    func answersSeveral() async throws {
        let simulator = try Simulator()
        let more = "\"max_tokens\":3,\"ignore_eos\":true,\"n\":2"
        let whole = try await simulator.post("/v1/completions", "{\"model\":\"tiny\",\"prompt\":[\"a\",\"b\"],\(more)}")
        #expect((0..<5).map { whole.integer("choices.\($0).index") } == [0, 1, 2, 3, nil])
        #expect(whole.integer("usage.prompt_tokens") == 2)
        #expect(whole.integer("usage.completion_tokens") == 12)
        let chat = "{\"model\":\"tiny\",\"messages\":[{\"content\":\"a\"}],\"stream\":true,\(more)}"
        let stream = try await simulator.post("/v1/chat/completions", chat)
        let chunks = stream.events.dropLast().map { Simulator.Answer(status: 0, headers: [:], body: $0) }
        #expect(chunks.map { $0.integer("choices.0.index") } == [0, 1, 0, 1, 0, 1, 0, 1])
    }

    @Test("Models are listed, adapters with their parent, and both can be asked")
    func listsModels() async throws {
        let simulator = try Simulator("--lora-modules", "ad1", "{\"name\":\"ad2\",\"path\":\"x\"}", "--max-loras", "2")
        let models = try await simulator.get("/v1/models")
        #expect((0..<3).map { models.string("data.\($0).id") } == ["tiny", "ad1", "ad2"])
        #expect(models.integer("data.0.max_model_len") == 1024)
        #expect(models.string("data.1.parent") == "tiny")
        let answer = try await simulator.post("/v1/completions", "{\"model\":\"ad2\",\"prompt\":\"hi\"}")
        #expect(answer.string("model") == "ad2")
        #expect(try await simulator.get("/metrics").body.contains("vllm:lora_requests_info{max_lora=\"2\""))
    }

    @Test(
        "A wrong request gets vLLM's status and an error object, and the server goes on",
        arguments: [
            ("{\"model\":\"tiny\",\"prompt\":", 400, "BadRequestError"),
            ("[]", 400, "BadRequestError"),
            ("", 400, "BadRequestError"),
            ("{\"prompt\":\"hi\"}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\"}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":\"\"}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":[\"a\",2]}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":[1,-2]}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":\"hi\",\"max_tokens\":0}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":\"hi\",\"max_tokens\":1e99}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":\"hi\",\"max_tokens\":1024}", 400, "BadRequestError"),
            ("{\"model\":\"tiny\",\"prompt\":\"hi\",\"n\":0}", 400, "BadRequestError"),
            ("{\"model\":\"none\",\"prompt\":\"hi\"}", 404, "NotFoundError"),
            ("{\"model\":\"\\ud800\",\"prompt\":\"\\udc00\\q\"}", 400, "BadRequestError"),
            (String(repeating: "[", count: 100_000), 400, "BadRequestError"),
        ]
    )
    func refuses(body: String, status: Int, type: String) async throws {
        let simulator = try Simulator()
        let answer = try await simulator.post("/v1/completions", body)
        #expect(answer.status == status)
        #expect(answer.string("error.type") == type)
        #expect(answer.integer("error.code") == status)
        #expect(try await simulator.post("/v1/completions", completion("hi")).status == 200)
    }

    @Test("A body over the limit is answered 413, an unknown path 404, a wrong method 405")
    func refusesByHead() async throws {
        let simulator = try Simulator("--max-request-body-size-mb", "1")
        let large = completion(String(repeating: "x", count: 1 << 20))
        #expect(try await simulator.post("/v1/completions", large).status == 413)
        #expect(try await simulator.get("/nothing").status == 404)
        #expect(try await simulator.get("/v1/completions").status == 405)
    }
}
