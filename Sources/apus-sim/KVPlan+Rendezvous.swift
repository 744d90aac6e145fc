import EngineSimulation

/// The connectors whose two legs are sent at the same time and find each other by a name.
extension KVPlan {
    /// SGLang: both legs have the same body; what a server makes of it is its role.
    mutating func sglang(_ body: JSONValue, _ role: EngineRole?) {
        guard role == .prefill || role == .decode else { return }
        leg = role == .prefill ? .prefill : .decode
        // A list of prompts has a list of each; the first room stands for all.
        func value(_ name: String) -> JSONValue? { body[name].map { $0.elements?.first ?? $0 } }
        guard let room = value("bootstrap_room")?.integer, room >= 0, let host = value("bootstrap_host")?.string else {
            action = .park
            return
        }
        id = "\(room)"
        if role == .prefill {
            action = .announce(key: "\(room)", answerWaits: true)
        } else {
            let port = value("bootstrap_port")?.integer ?? 8998
            action = .join(SideChannel.Address(host: host, port: port), key: "\(room)", .null)
        }
    }

    mutating func mooncake(_ parameters: JSONValue?) {
        guard let parameters else { return }
        let key = parameters["transfer_id"]?.string
        id = key
        if parameters["do_remote_decode"]?.bool == true {
            leg = .prefill
            action = key.map { .announce(key: $0, answerWaits: false) } ?? .none
        } else if parameters["do_remote_prefill"]?.bool == true {
            leg = .decode
            let address = parameters["remote_bootstrap_addr"]?.string.flatMap { SideChannel.Address($0) }
            guard let key, let address, let engine = parameters["remote_engine_id"]?.string else {
                action = .partial
                return
            }
            action = .join(address, key: key, .string(engine))
        }
    }

    mutating func offloading(_ parameters: JSONValue?) {
        if let decoder = parameters?["remote_decoder"] {
            leg = .prefill
            id = decoder["kv_request_id"]?.string
            action = id.map { .announce(key: $0, answerWaits: false) } ?? .none
        } else if let prefiller = parameters?["remote_prefiller"] {
            leg = .decode
            guard let key = prefiller["kv_request_id"]?.string, let host = prefiller["remote_host"]?.string,
                let port = prefiller["remote_port"]?.integer
            else {
                action = .partial
                return
            }
            id = key
            action = .join(SideChannel.Address(host: host, port: port), key: key, .null)
        }
    }
}
