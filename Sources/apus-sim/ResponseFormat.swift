import EngineSimulation

/// What a generation has used.
struct Usage: Sendable {
    var promptTokens: Int
    var cachedTokens: Int
    var completionTokens: Int

    /// As the OpenAI APIs tell it, of so many equal answers.
    func openAI(_ choices: Int) -> String {
        let completionTokens = completionTokens * choices
        return "{\"prompt_tokens\":\(promptTokens),\"total_tokens\":\(promptTokens + completionTokens),"
            + "\"completion_tokens\":\(completionTokens),\"prompt_tokens_details\":{\"cached_tokens\":\(cachedTokens)}}"
    }

    /// As the Responses API tells it.
    var responses: String {
        "{\"input_tokens\":\(promptTokens),\"input_tokens_details\":{\"cached_tokens\":\(cachedTokens)},"
            + "\"output_tokens\":\(completionTokens),\"output_tokens_details\":{\"reasoning_tokens\":0},"
            + "\"total_tokens\":\(promptTokens + completionTokens)}"
    }

    /// As the Anthropic API tells it: cached tokens are no input tokens.
    var anthropic: String {
        "{\"input_tokens\":\(promptTokens - cachedTokens),\"output_tokens\":\(completionTokens),"
            + "\"cache_read_input_tokens\":\(cachedTokens),\"cache_creation_input_tokens\":0}"
    }
}

/// Writes the answer to one request in the form of its API, whole or as server-sent events.
struct ResponseFormat: Sendable {
    let api: GenerationAPI
    /// Quoted.
    let id: String
    let plainID: String
    let model: String
    /// Unix time.
    let created: Int
    let includesUsage: Bool
    /// How many times the answer is given.
    let choiceCount: Int

    init(_ request: GenerationRequest, requestID: String, created: Int) {
        api = request.api
        model = request.model.quotedAsJSON
        self.created = created
        includesUsage = request.includesUsage
        choiceCount = request.api == .completions ? request.answers * request.prompts.count : request.answers
        let prefix =
            switch request.api {
            case .completions: "cmpl-"
            case .chat: "chatcmpl-"
            case .responses: "resp_"
            case .messages: "msg_"
            case .embeddings: "embd-"
            case .generate: ""
            }
        plainID = prefix + requestID
        id = plainID.quotedAsJSON
    }

    private func head(_ object: String) -> String {
        "{\"id\":\(id),\"object\":\"\(object)\",\"created\":\(created),\"model\":\(model)"
    }

    // MARK: Whole

    func whole(_ tokens: [Tokenizer.Token], reason: String, usage: Usage, handOff: HandOff) -> String {
        let text = tokens.map(\.text).joined()
        let isError = reason == "error"
        let end = handOff.text + "}"
        switch api {
        case .completions:
            return head("text_completion")
                + choices {
                    "{\"index\":\($0),\"text\":\(text.quotedAsJSON),\"logprobs\":null,"
                        + "\"finish_reason\":\"\(reason)\",\"stop_reason\":null\(handOff.choiceText)}"
                } + ",\"usage\":\(usage.openAI(choiceCount))" + end
        case .chat:
            let content = isError ? "" : ",\"content\":\(text.quotedAsJSON)"
            return head("chat.completion")
                + choices {
                    "{\"index\":\($0),\"message\":{\"role\":\"assistant\"\(content)},"
                        + "\"logprobs\":null,\"finish_reason\":\"\(reason)\",\"stop_reason\":null\(handOff.choiceText)}"
                } + ",\"usage\":\(usage.openAI(choiceCount))" + end
        case .responses:
            let status = isError ? "failed" : reason == "length" ? "incomplete" : "completed"
            return response(status: status, text: text, usage: usage).dropLast() + end
        case .messages:
            return "{\"id\":\(id),\"type\":\"message\",\"role\":\"assistant\",\"model\":\(model),"
                + "\"content\":[{\"type\":\"text\",\"text\":\(text.quotedAsJSON)}],"
                + "\"stop_reason\":\"\(anthropicReason(reason))\",\"stop_sequence\":null,\"usage\":\(usage.anthropic)"
                + end
        case .generate:
            return "{\"request_id\":\(id),\"choices\":[\(generated(tokens, reason: "\"\(reason)\"", handOff))],"
                + "\"prompt_logprobs\":null" + end
        case .embeddings: return "{}"
        }
    }

    /// The embeddings of some texts, each a list of numbers.
    func embeddings(_ vectors: [[Double]], usage: Usage) -> String {
        let data = vectors.enumerated().map { index, vector in
            "{\"index\":\(index),\"object\":\"embedding\",\"embedding\":[\(vector.map { "\($0)" }.joined(separator: ","))]}"
        }
        return "{\"id\":\(id),\"object\":\"list\",\"created\":\(created),\"model\":\(model),"
            + "\"data\":[\(data.joined(separator: ","))],\"usage\":{\"prompt_tokens\":\(usage.promptTokens),"
            + "\"total_tokens\":\(usage.promptTokens),\"completion_tokens\":0,\"prompt_tokens_details\":null}}"
    }

    // MARK: Streamed

    /// What is sent before the first token's text.
    func beginning(usage: Usage) -> String {
        switch api {
        case .completions, .embeddings, .generate: ""
        case .chat:
            chunks("chat.completion.chunk") {
                "{\"index\":\($0),\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                    + "\"logprobs\":null,\"finish_reason\":null}"
            }
        case .responses:
            event("response.created", ",\"response\":" + response(status: "in_progress", text: nil, usage: nil))
                + event(
                    "response.in_progress",
                    ",\"response\":" + response(status: "in_progress", text: nil, usage: nil)
                )
                + event("response.output_item.added", ",\"output_index\":0,\"item\":" + item(nil, "in_progress"))
                + event("response.content_part.added", part + ",\"part\":" + content(""))
        case .messages:
            event(
                "message_start",
                ",\"message\":{\"id\":\(id),\"type\":\"message\",\"role\":\"assistant\",\"model\":\(model),"
                    + "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":\(usage.anthropic)}"
            ) + event("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
        }
    }

    /// One token's text; with the reason when it is the last.
    func piece(_ token: Tokenizer.Token, reason: String?) -> String {
        let text = token.text
        let reason = reason.map { "\"\($0)\"" } ?? "null"
        switch api {
        case .completions:
            return chunks("text_completion") {
                "{\"index\":\($0),\"text\":\(text.quotedAsJSON),\"logprobs\":null,"
                    + "\"finish_reason\":\(reason),\"stop_reason\":null}"
            }
        case .chat:
            return chunks("chat.completion.chunk") {
                "{\"index\":\($0),\"delta\":{\"content\":\(text.quotedAsJSON)},"
                    + "\"logprobs\":null,\"finish_reason\":\(reason)}"
            }
        case .responses: return event("response.output_text.delta", part + ",\"delta\":\(text.quotedAsJSON)")
        case .messages:
            return event(
                "content_block_delta",
                ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\(text.quotedAsJSON)}"
            )
        case .generate:
            let tokens = text.isEmpty ? [] : [token]
            return data("{\"request_id\":\(id),\"choices\":[\(generated(tokens, reason: reason, HandOff()))]}")
        case .embeddings: return ""
        }
    }

    /// What is sent after the last token's text.
    func end(_ text: String, reason: String, usage: Usage) -> String {
        switch api {
        case .completions, .chat:
            let object = api == .chat ? "chat.completion.chunk" : "text_completion"
            let chunk =
                includesUsage ? data(head(object) + ",\"choices\":[],\"usage\":\(usage.openAI(choiceCount))}") : ""
            return chunk + data("[DONE]")
        case .responses:
            let status = reason == "length" ? "incomplete" : "completed"
            return event("response.output_text.done", part + ",\"text\":\(text.quotedAsJSON)")
                + event("response.content_part.done", part + ",\"part\":" + content(text))
                + event("response.output_item.done", ",\"output_index\":0,\"item\":" + item(text, "completed"))
                + event("response.\(status)", ",\"response\":" + response(status: status, text: text, usage: usage))
        case .messages:
            return event("content_block_stop", ",\"index\":0")
                + event(
                    "message_delta",
                    ",\"delta\":{\"stop_reason\":\"\(anthropicReason(reason))\",\"stop_sequence\":null},"
                        + "\"usage\":\(usage.anthropic)"
                ) + event("message_stop", "")
        case .generate: return data("[DONE]")
        case .embeddings: return ""
        }
    }

    // MARK: Pieces

    private func generated(_ tokens: [Tokenizer.Token], reason: String, _ handOff: HandOff) -> String {
        let numbers = tokens.map { "\($0.number)" }.joined(separator: ",")
        return
            "{\"index\":0,\"logprobs\":null,\"finish_reason\":\(reason),\"token_ids\":[\(numbers)]\(handOff.choiceText)}"
    }

    private func choices(_ choice: (Int) -> String) -> String {
        ",\"choices\":[" + (0..<choiceCount).map(choice).joined(separator: ",") + "]"
    }

    /// An event for each choice.
    private func chunks(_ object: String, _ choice: (Int) -> String) -> String {
        (0..<choiceCount).map { data(head(object) + ",\"choices\":[\(choice($0))]}") }.joined()
    }

    private func data(_ json: String) -> String {
        "data: \(json)\n\n"
    }

    private func event(_ type: String, _ members: String) -> String {
        "event: \(type)\ndata: {\"type\":\"\(type)\"\(members)}\n\n"
    }

    private var itemID: String { "\"msg_" + id.dropFirst() }
    private var part: String { ",\"item_id\":\(itemID),\"output_index\":0,\"content_index\":0" }

    private func content(_ text: String) -> String {
        "{\"type\":\"output_text\",\"text\":\(text.quotedAsJSON),\"annotations\":[]}"
    }

    private func item(_ text: String?, _ status: String) -> String {
        "{\"id\":\(itemID),\"type\":\"message\",\"role\":\"assistant\",\"status\":\"\(status)\","
            + "\"content\":[\(text.map(content) ?? "")]}"
    }

    private func response(status: String, text: String?, usage: Usage?) -> String {
        let details = status == "incomplete" ? "{\"reason\":\"max_output_tokens\"}" : "null"
        return "{\"id\":\(id),\"object\":\"response\",\"created_at\":\(created),\"model\":\(model),"
            + "\"status\":\"\(status)\",\"incomplete_details\":\(details),"
            + "\"output\":[\(text.map { item($0, "completed") } ?? "")],\"usage\":\(usage?.responses ?? "null")}"
    }

    private func anthropicReason(_ reason: String) -> String {
        switch reason {
        case "length": "max_tokens"
        case "stop": "end_turn"
        default: reason
        }
    }
}
