import TestSupport

/// Bodies and requests of the APIs that tests speak. Answers have exactly as many tokens as are asked for.
enum Ask {
    static func completionBody(
        _ prompt: String = "Say something",
        model: String = Simulators.model,
        stream: Bool = false,
        tokens: Int = 5
    ) -> String {
        let options = stream ? #", "stream": true, "stream_options": {"include_usage": true}"# : ""
        return
            #"{"model": "\#(model)", "prompt": "\#(prompt)", "max_tokens": \#(tokens), "ignore_eos": true\#(options)}"#
    }

    static func completion(
        _ prompt: String = "Say something",
        model: String = Simulators.model,
        stream: Bool = false,
        tokens: Int = 5,
        headers: HTTPFields = []
    ) -> TestRequest {
        let body = completionBody(prompt, model: model, stream: stream, tokens: tokens)
        return .post("/v1/completions", json: body, headers: headers)
    }

    static func chat(_ text: String = "Say something", stream: Bool = false, tokens: Int = 5) -> TestRequest {
        let options = stream ? #", "stream": true, "stream_options": {"include_usage": true}"# : ""
        let messages = #"[{"role": "user", "content": "\#(text)"}]"#
        return .post(
            "/v1/chat/completions",
            json:
                #"{"model": "\#(Simulators.model)", "messages": \#(messages), "max_tokens": \#(tokens), "ignore_eos": true\#(options)}"#
        )
    }
}

extension TestResponse {
    /// The events of a stream without `data: `, the last being `[DONE]`.
    var events: [String] {
        text.split(separator: "\n\n").map { $0.hasPrefix("data: ") ? String($0.dropFirst(6)) : String($0) }
    }

    /// The usage that the response reports, plain or at the end of a stream.
    var usage: JSON {
        get throws {
            if self["content-type"]?.hasPrefix("text/event-stream") ?? false {
                return try events.reversed().lazy.filter { $0 != "[DONE]" }.map { try JSON(text: $0)["usage"] }
                    .first { $0 != .null } ?? .null
            }
            return try JSON(text: text)["usage"]
        }
    }
}
