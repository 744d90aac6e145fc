/// The top-level members of a request's body that Apus reads or may edit. All others pass unseen.
package struct RequestMembers: Sendable {
    package enum Name: UInt8, CaseIterable, Sendable {
        case model, prompt, messages, input, tokenIDs, stream, streamOptions, n, maxTokens, maxCompletionTokens,
            maxOutputTokens
        case cacheSalt, instructions, tools, items, system, minTokens, bestOf, samplingParams
        case cacheHitThreshold, rid, promptTokenIDs, mmProcessorKwargs, mediaIOKwargs, vllmXArgs
        case background, store
        case kvTransferParams, ecTransferParams, bootstrapHost, bootstrapPort, bootstrapRoom, disaggregatedParams

        /// The name on the wire.
        package var text: StaticString {
            switch self {
            case .model: "model"
            case .prompt: "prompt"
            case .messages: "messages"
            case .input: "input"
            case .tokenIDs: "token_ids"
            case .stream: "stream"
            case .streamOptions: "stream_options"
            case .n: "n"
            case .maxTokens: "max_tokens"
            case .maxCompletionTokens: "max_completion_tokens"
            case .maxOutputTokens: "max_output_tokens"
            case .cacheSalt: "cache_salt"
            case .instructions: "instructions"
            case .tools: "tools"
            case .items: "items"
            case .system: "system"
            case .minTokens: "min_tokens"
            case .bestOf: "best_of"
            case .samplingParams: "sampling_params"
            case .cacheHitThreshold: "cache_hit_threshold"
            case .rid: "rid"
            case .promptTokenIDs: "prompt_token_ids"
            case .mmProcessorKwargs: "mm_processor_kwargs"
            case .mediaIOKwargs: "media_io_kwargs"
            case .vllmXArgs: "vllm_xargs"
            case .background: "background"
            case .store: "store"
            case .kvTransferParams: "kv_transfer_params"
            case .ecTransferParams: "ec_transfer_params"
            case .bootstrapHost: "bootstrap_host"
            case .bootstrapPort: "bootstrap_port"
            case .bootstrapRoom: "bootstrap_room"
            case .disaggregatedParams: "disaggregated_params"
            }
        }

        /// Whether a body that has the member twice is refused: servers disagree about which of two counts, and Apus must decide by the one
        /// that they use.
        package var mustBeUnique: Bool { rawValue <= Self.maxOutputTokens.rawValue }

        /// Whether only a picker may set the member. A disaggregating configuration refuses a client's body that has one.
        package var isPickersOwn: Bool { rawValue >= Self.kvTransferParams.rawValue }
    }

    /// The members that are there, each once: of several with one name, the last.
    package let present: [(name: Name, member: JSONMember)]

    static let reader = JSONReader(names: Name.allCases.map(\.text))

    static let none = RequestMembers(present: [])

    private init(present: [(name: Name, member: JSONMember)]) {
        self.present = present
    }

    init(_ found: borrowing JSONReader.Found) {
        var present: [(name: Name, member: JSONMember)] = []
        present.reserveCapacity(8)
        for name in Name.allCases {
            if let member = found[Int(name.rawValue)] { present.append((name, member)) }
        }
        self.present = present
    }

    package subscript(name: Name) -> JSONMember? {
        present.first { $0.name == name }?.member
    }
}
