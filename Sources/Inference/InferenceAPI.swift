/// The HTTP APIs of model servers whose bodies Apus reads.
package enum InferenceAPI: Sendable, CaseIterable {
    case completions
    case chatCompletions
    case responses
    case conversations
    case embeddings
    case imageGenerations
    case speech
    /// Anthropic's Messages.
    case messages
    /// vLLM's token-in API.
    case generate

    /// The API that a request's path names, or nil for any other path (the reference reads those as completions).
    ///
    /// The end of the path decides, so a prefix ("/tenant-a/v1/chat/completions") does not matter; a query, a fragment and slashes at the
    /// end are no part of it.
    package static func matching(path: String) -> InferenceAPI? {
        endings.value(for: path)
    }

    private static let endings = PathEndings(
        allCases.flatMap { api in api.pathSuffixes.map { (text: $0, value: api) } }
    )

    /// How the paths of the API end.
    var pathSuffixes: [String] {
        switch self {
        // `render` shows the prompt that the same body would make.
        case .completions: ["/completions", "/completions/render"]
        case .chatCompletions: ["/chat/completions", "/chat/completions/render"]
        case .responses: ["/responses"]
        case .conversations: ["/conversations"]
        case .embeddings: ["/embeddings"]
        case .imageGenerations: ["/images/generations"]
        case .speech: ["/audio/speech"]
        case .messages: ["/messages"]
        case .generate: ["/inference/v1/generate"]
        }
    }

    /// Whether a body need not name a model.
    var modelIsOptional: Bool { self == .generate }

    /// Whether there may be images, videos and sounds in a prompt.
    package var takesMedia: Bool {
        switch self {
        case .chatCompletions, .responses, .conversations, .messages: true
        case .completions, .embeddings, .imageGenerations, .speech, .generate: false
        }
    }

    /// The members whose values are the prompt, in the order in which the model sees them.
    var promptMembers: [RequestMembers.Name] {
        switch self {
        case .completions, .imageGenerations: [.prompt]
        case .chatCompletions: [.messages]
        case .responses: [.instructions, .tools, .input]
        case .conversations: [.items]
        case .embeddings, .speech: [.input]
        case .messages: [.system, .tools, .messages]
        case .generate: [.tokenIDs]
        }
    }

    /// The members that may limit the output's tokens, the one that decides first; `generate` has its limit in `sampling_params`.
    var tokenLimitMembers: [RequestMembers.Name] {
        switch self {
        case .completions, .chatCompletions: [.maxCompletionTokens, .maxTokens]
        case .responses: [.maxOutputTokens]
        case .messages: [.maxTokens]
        case .conversations, .embeddings, .imageGenerations, .speech, .generate: []
        }
    }

    /// What is wrong with the member that the API requires, in the reference's words; nil when nothing is.
    func problem(in members: RequestMembers) -> String? {
        switch self {
        case .completions:
            members[.prompt]?.isNonEmptyTextOrList == true
                ? nil : "invalid completions request: must have prompt field"
        case .chatCompletions:
            members[.messages]?.isNonEmptyList == true
                ? nil : "invalid chat completions request: must have valid messages field"
        case .responses:
            members[.input].map { $0.kind != .null } == true
                ? nil : "invalid responses request: must have input field"
        case .conversations:
            members[.items]?.isNonEmptyList == true
                ? nil : "invalid conversations request: must have items field"
        case .embeddings:
            members[.input]?.isNonEmptyTextOrList == true
                ? nil : "invalid embeddings request: must have input field"
        case .imageGenerations:
            members[.prompt].map { $0.kind == .string && !$0.contentRange.isEmpty } == true
                ? nil : "invalid images generations request: must have prompt field"
        case .speech:
            members[.input]?.kind == .string
                ? nil : "invalid text to speech request: must have string input field"
        case .messages:
            members[.messages]?.isNonEmptyList == true
                ? nil : "invalid messages request: must have at least one message"
        case .generate:
            members[.tokenIDs]?.isNonEmptyList == true
                ? nil : "invalid generate request: must have non-empty token_ids field"
        }
    }
}

extension JSONMember {
    fileprivate var isNonEmptyList: Bool { kind == .array && elementCount > 0 }

    fileprivate var isNonEmptyTextOrList: Bool { isNonEmptyList || (kind == .string && !contentRange.isEmpty) }
}
