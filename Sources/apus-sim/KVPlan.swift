import EngineSimulation

/// What a request's body asks of the connection between engines.
struct KVPlan: Sendable {
    enum Action: Sendable {
        case none
        /// A prefill whose blocks are kept under a lease; its answer tells where.
        case lease
        /// A prefill that its decode finds by a name. With `answerWaits` it is answered only when the decode has come.
        case announce(key: String, answerWaits: Bool)
        /// A decode that redeems a lease.
        case claim(SideChannel.Address, key: String, engineID: String, JSONValue)
        /// A decode that waits for the prefill of that name.
        case join(SideChannel.Address, key: String, JSONValue)
        /// A decode whose parameters are not complete.
        case partial
        /// A request that waits for a peer that nobody named.
        case park
        /// Looks into the shared storage; below the threshold the request is given back.
        case store(threshold: Double?)
    }

    var leg = Leg.monolithic
    var action = Action.none
    /// For the log.
    var id: String?

    /// Whether the engine makes one token only, however many are asked for.
    private(set) var isOneToken = false

    var keepsBlocks: Bool {
        switch action {
        case .lease, .announce: true
        default: false
        }
    }

    /// What an engine with these settings makes of a body.
    init(_ body: JSONValue, api: GenerationAPI, options: DisaggregationOptions, role: EngineRole?) {
        leg = Self.leg(of: role, body)
        guard api != .embeddings else { return }
        switch options.engine {
        case .sglang:
            sglang(body, role)
            isOneToken = leg == .prefill
        case .trtllm:
            tensorRT(body)
            isOneToken = leg == .prefill
        case .vllm:
            let parameters = Self.parameters(body, api, "kv_transfer_params")
            switch options.kvConnector {
            case .none: break
            case .nixl: nixl(parameters)
            case .mooncake: mooncake(parameters)
            case .offloading: offloading(parameters)
            case .sharedStorage: sharedStorage(body)
            }
            // Without a connector the parameters do nothing, but tell what the sender thinks it is doing.
            if case .none = action, let told = Self.told(parameters) { leg = told }
        }
    }

    /// The generate API takes them among the sampling parameters only.
    static func parameters(_ body: JSONValue, _ api: GenerationAPI, _ name: String) -> JSONValue? {
        api == .generate ? body["sampling_params"]?["extra_args"]?[name] : body[name]
    }

    private static func told(_ parameters: JSONValue?) -> Leg? {
        guard let parameters else { return nil }
        if parameters["do_remote_decode"]?.bool == true || parameters["remote_decoder"] != nil { return .prefill }
        if parameters["do_remote_prefill"]?.bool == true || parameters["remote_prefiller"] != nil { return .decode }
        return nil
    }

    /// Bodies that say nothing are told by the role and the length that is asked for.
    private static func leg(of role: EngineRole?, _ body: JSONValue) -> Leg {
        let limits = ["max_tokens", "max_completion_tokens", "max_output_tokens"]
        let limit =
            limits.lazy.compactMap { body[$0]?.integer }.first ?? body["sampling_params"]?["max_tokens"]?.integer
        return switch role {
        case .encode: .encode
        case .prefill where limit == 1: .prefill
        default: .monolithic
        }
    }
}
