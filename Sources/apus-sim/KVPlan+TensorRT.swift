import EngineSimulation

/// TensorRT-LLM: `disaggregated_params` with a context and a generation phase.
extension KVPlan {
    mutating func tensorRT(_ body: JSONValue) {
        guard let parameters = body["disaggregated_params"], !parameters.isNull else { return }
        switch parameters["request_type"]?.string {
        case "context_only":
            leg = .prefill
            action = .lease
        case "generation_only":
            leg = .decode
            guard let context = parameters["ctx_request_id"]?.integer,
                let state = parameters["opaque_state"]?.string, let address = Self.address(in: state),
                parameters["first_gen_tokens"]?.elements?.isEmpty == false
            else {
                action = .partial
                return
            }
            id = "\(context)"
            let given = (parameters.members ?? []).map {
                $0.0 == "request_type" ? ("request_type", JSONValue.string("context_only")) : $0
            }
            action = .claim(address.address, key: "\(context)", engineID: address.engine, .object(given))
        default: break
        }
    }

    /// What the context phase hands over.
    static func tensorRTParameters(key: Int, engineID: String, firstToken: Int, address: SideChannel.Address)
        -> JSONValue
    {
        .object([
            ("request_type", .string("context_only")),
            ("first_gen_tokens", .array([.integer(firstToken)])),
            ("ctx_request_id", .integer(key)),
            ("opaque_state", .string("\(engineID)@\(address)")),
            ("draft_tokens", .null),
            ("ctx_dp_rank", .integer(0)),
            ("ctx_info_endpoint", .string("http://\(address)")),
            ("sim_unknown", .object([("nested", .array([.null, .integer(sentinel)]))])),
        ])
    }

    private static func address(in state: String) -> (engine: String, address: SideChannel.Address)? {
        let parts = state.split(separator: "@", maxSplits: 1)
        guard parts.count == 2, let address = SideChannel.Address(String(parts[1])) else { return nil }
        return (String(parts[0]), address)
    }
}
