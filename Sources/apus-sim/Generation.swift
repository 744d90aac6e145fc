import EngineSimulation
import HTTPServer

/// The APIs that generate text or embeddings.
enum GenerationAPI: String, Sendable {
    case completions = "/v1/completions"
    case chat = "/v1/chat/completions"
    case responses = "/v1/responses"
    case messages = "/v1/messages"
    case embeddings = "/v1/embeddings"
    /// vLLM's: tokens in, tokens out.
    case generate = "/inference/v1/generate"

    /// Whether vLLM's answers always have the members of the connectors.
    var isOpenAI: Bool { self == .completions || self == .chat || self == .generate }
}

/// An error that is answered in place of a generation.
struct APIError: Error {
    let status: Int
    let type: String
    let message: String
    var parameter: String?

    /// What goes with it.
    var headers: [HTTPHeader] { status == 429 || status == 503 ? [HTTPHeader("retry-after", "1")] : [] }

    static func badRequest(_ message: String, parameter: String? = nil) -> APIError {
        APIError(status: 400, type: "BadRequestError", message: message, parameter: parameter)
    }

    /// An error of vLLM's form; the Anthropic API has its own.
    func body(for api: GenerationAPI?) -> String {
        if api == .messages {
            return "{\"type\":\"error\",\"error\":{\"type\":\(type.quotedAsJSON),\"message\":\(message.quotedAsJSON)}}"
        }
        let parameter = parameter?.quotedAsJSON ?? "null"
        return "{\"error\":{\"message\":\(message.quotedAsJSON),\"type\":\(type.quotedAsJSON),\"param\":\(parameter),"
            + "\"code\":\(status)}}"
    }
}

/// What a request of any of the APIs asks for.
struct GenerationRequest: Sendable {
    let api: GenerationAPI
    let model: String
    let isStream: Bool
    /// The stream ends with a chunk of usage.
    let includesUsage: Bool
    let ignoresEndOfSequence: Bool
    /// nil: as many as fit.
    let maxTokens: Int?
    let cacheSalt: String?
    /// How many answers each prompt gets; they are all the same.
    let answers: Int
    /// Of the prompts; more than one only for completions and embeddings.
    let prompts: [[UInt32]]
    /// What echo mode answers.
    let echo: String
    let dimensions: Int?
    /// Addresses of pictures, videos and sounds among the messages, each once.
    let items: [String]
    /// By the hash of the item.
    let embeddingParameters: JSONValue?
    /// SGLang's own name of the request.
    let rid: String?

    var promptTokens: Int { prompts.reduce(0) { $0 + $1.count } }

    init(_ api: GenerationAPI, _ json: JSONValue) throws(APIError) {
        guard json.members != nil else { throw .badRequest("The body must be a JSON object") }
        self.api = api
        guard let model = json["model"]?.string else { throw .badRequest("model must be a string", parameter: "model") }
        self.model = model
        items = Self.items(json)
        embeddingParameters = KVPlan.parameters(json, api, "ec_transfer_params")
        rid = json["rid"]?.string
        isStream = json["stream"]?.bool ?? false
        includesUsage = json["stream_options"]?["include_usage"]?.bool ?? false
        ignoresEndOfSequence = (json["ignore_eos"] ?? json["sampling_params"]?["ignore_eos"])?.bool ?? false
        cacheSalt = json["cache_salt"]?.string
        dimensions = json["dimensions"]?.integer
        let sampling = api == .generate ? json["sampling_params"] ?? .null : json
        let several = (sampling["n"] ?? .null).isNull ? 1 : sampling["n"]?.integer ?? 0
        guard (1...(api == .completions || api == .chat ? 128 : 1)).contains(several) else {
            throw .badRequest("n must be from 1 to 128, and 1 for this API", parameter: "n")
        }
        answers = several
        switch api {
        case .completions:
            maxTokens = try Self.limit(json, ["max_tokens"]) ?? 16
            (prompts, echo) = try Self.prompts(json["prompt"], "prompt", most: 128)
        case .chat:
            maxTokens = try Self.limit(json, ["max_completion_tokens", "max_tokens"])
            (prompts, echo) = try Self.conversation(json["messages"], "messages", system: nil)
        case .messages:
            maxTokens = try Self.limit(json, ["max_tokens"])
            guard maxTokens != nil else { throw .badRequest("max_tokens is missing", parameter: "max_tokens") }
            (prompts, echo) = try Self.conversation(json["messages"], "messages", system: json["system"])
        case .responses:
            maxTokens = try Self.limit(json, ["max_output_tokens"])
            let input = json["input"]
            if let text = input?.string {
                let message = JSONValue.object([("role", .string("user")), ("content", .string(text))])
                (prompts, echo) = try Self.conversation(.array([message]), "input", system: json["instructions"])
            } else {
                (prompts, echo) = try Self.conversation(input, "input", system: json["instructions"])
            }
        case .generate:
            maxTokens = try Self.limit(sampling, ["max_tokens"]) ?? 16
            (prompts, echo) = try Self.prompts(json["token_ids"], "token_ids", most: 1)
        case .embeddings:
            maxTokens = 0
            if let format = json["encoding_format"]?.string, format != "float" {
                throw .badRequest("This simulator only knows the encoding_format float", parameter: "encoding_format")
            }
            if let dimensions, !(1...65536).contains(dimensions) {
                throw .badRequest("dimensions is out of range", parameter: "dimensions")
            }
            (prompts, echo) = try Self.prompts(json["input"], "input", most: 2048)
        }
        if let least = sampling["min_tokens"]?.integer, let most = maxTokens, least > most {
            throw .badRequest(
                "min_tokens must be less than or equal to max_tokens=\(most), got \(least).",
                parameter: "min_tokens"
            )
        }
    }

    /// The addresses of what the messages show, in their order, each once.
    private static func items(_ json: JSONValue) -> [String] {
        var items: [String] = []
        for message in json["messages"]?.elements ?? [] {
            for part in message["content"]?.elements ?? [] {
                for name in ["image_url", "audio_url", "video_url", "input_audio"] {
                    guard let item = part[name] else { continue }
                    let address = item.string ?? item["url"]?.string ?? item["data"]?.string ?? item.text
                    if !items.contains(address) { items.append(address) }
                }
            }
        }
        return items
    }

    private static func limit(_ json: JSONValue, _ names: [String]) throws(APIError) -> Int? {
        for name in names {
            guard let value = json[name], !value.isNull else { continue }
            guard let limit = value.integer else {
                throw .badRequest("\(name) must be a whole number", parameter: name)
            }
            guard limit >= 1 else { throw .badRequest("\(name) must be at least 1, got \(limit).", parameter: name) }
            return limit
        }
        return nil
    }

    /// A text, token numbers, or a list of either.
    private static func prompts(
        _ value: JSONValue?,
        _ name: String,
        most: Int
    ) throws(APIError) -> ([[UInt32]], String) {
        func one(_ value: JSONValue) -> ([UInt32], String)? {
            if let text = value.string, !text.isEmpty { return (Tokenizer.numbers(of: text), text) }
            guard let elements = value.elements, !elements.isEmpty else { return nil }
            let numbers = elements.compactMap { $0.integer.flatMap { UInt32(exactly: $0) } }
            guard numbers.count == elements.count else { return nil }
            return (numbers, numbers.map { "\($0)" }.joined(separator: ","))
        }
        let wrong = APIError.badRequest("\(name) must be a text or a list of token numbers, not empty", parameter: name)
        guard let value else { throw .badRequest("\(name) is missing", parameter: name) }
        if let prompt = one(value) { return ([prompt.0], prompt.1) }
        guard let elements = value.elements, !elements.isEmpty else { throw wrong }
        guard elements.count <= most else {
            throw .badRequest("This simulator takes at most \(most) in \(name)", parameter: name)
        }
        let all = elements.compactMap(one)
        guard all.count == elements.count else { throw wrong }
        return (all.map(\.0), all[0].1)
    }

    /// Messages put through a chat template. Each piece is cut into tokens by itself, so that an answer that comes back as a message has
    /// the tokens it was generated with.
    private static func conversation(
        _ value: JSONValue?,
        _ name: String,
        system: JSONValue?
    ) throws(APIError) -> ([[UInt32]], String) {
        guard let messages = value?.elements, !messages.isEmpty else {
            throw .badRequest("\(name) must be a list of messages, not empty", parameter: name)
        }
        var tokens: [UInt32] = []
        func add(_ role: String, _ content: String) {
            tokens += Tokenizer.numbers(of: "<|\(role)|>\n")
            tokens += Tokenizer.numbers(of: content)
            tokens += Tokenizer.numbers(of: "<|end|>\n")
        }
        if let system, !system.isNull { add("system", text(of: system)) }
        var last = ""
        for message in messages {
            guard message.members != nil else {
                throw .badRequest("each of \(name) must be an object", parameter: name)
            }
            let role = message["role"]?.string ?? "user"
            let content = text(of: message["content"] ?? message["output"] ?? .null)
            add(role, content)
            if role == "user" { last = content }
        }
        tokens += Tokenizer.numbers(of: "<|assistant|>\n")
        return ([tokens], last)
    }

    /// A content that is a text, or the texts of its blocks.
    private static func text(of content: JSONValue) -> String {
        if let text = content.string { return text }
        return (content.elements ?? []).map { $0["text"]?.string ?? "" }.joined()
    }
}
