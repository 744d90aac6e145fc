import EngineSimulation

/// vLLM's NixlConnector: the prefill's answer names the blocks, the decode reads them.
extension KVPlan {
    mutating func nixl(_ parameters: JSONValue?) {
        guard let parameters else { return }
        if parameters["do_remote_decode"]?.bool == true {
            leg = .prefill
            action = .lease
            return
        }
        guard parameters["do_remote_prefill"]?.bool == true else { return }
        leg = .decode
        guard let key = parameters["remote_request_id"]?.string,
            let engineID = parameters["remote_engine_id"]?.string,
            let host = parameters["remote_host"]?.string, let port = parameters["remote_port"]?.integer,
            (1...65535).contains(port), let groups = parameters["remote_block_ids"]?.elements,
            !groups.isEmpty
        else {
            action = .partial
            return
        }
        id = key
        action = .claim(SideChannel.Address(host: host, port: port), key: key, engineID: engineID, parameters)
    }

    /// What the answer of a prefill hands over. Two members are not vLLM's: they show whether parameters are forwarded as they are.
    static func nixlParameters(
        key: String,
        engineID: String,
        blocks: [Int],
        tokens: Int,
        cachedTokens: Int,
        address: SideChannel.Address
    ) -> JSONValue {
        .object([
            ("do_remote_prefill", .bool(true)),
            ("do_remote_decode", .bool(false)),
            ("remote_block_ids", .array([.array(blocks.map { .integer($0) })])),
            ("remote_engine_id", .string(engineID)),
            ("remote_request_id", .string(key)),
            ("remote_host", .string(address.host)),
            ("remote_port", .integer(address.port)),
            ("tp_size", .integer(1)),
            ("dcp_size", .integer(1)),
            ("pp_size", .integer(1)),
            ("remote_num_tokens", .integer(tokens)),
            ("remote_blocks_expiry_time", .null),
            ("transfer_mode", .string("pull")),
            ("remote_prefill_cached_tokens", .integer(cachedTokens)),
            ("sim_nonce", .integer(sentinel)),
            ("sim_unknown", .object([("nested", .array([.null, .bool(true), .string("ü\"\\/")]))])),
        ])
    }

    /// 19 digits: a double cannot hold it.
    static let sentinel = 9_007_199_254_740_993_123
}
