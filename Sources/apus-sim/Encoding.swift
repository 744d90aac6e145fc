import Bytes
import EngineSimulation

/// The encode stage: embeddings of pictures and the like, by the hash of the item.
extension SimulatedServer {
    /// What an item is called.
    static func hash(ofItem address: String) -> String {
        let high = String(XXH3.hash(address, seed: 1), radix: 16)
        let low = String(XXH3.hash(address, seed: 2), radix: 16)
        return String(repeating: "0", count: 16 - high.count) + high + String(repeating: "0", count: 16 - low.count)
            + low
    }

    /// Keeps the embeddings of a request's items, and tells where they are.
    func embed(_ active: ActiveRequest, _ handOff: inout HandOff, _ state: inout State) {
        var parameters: [(String, JSONValue)] = []
        for (position, item) in active.request.items.enumerated() {
            let hash = Self.hash(ofItem: item)
            state.embeddings.insert(hash)
            let peer: [(String, JSONValue)] = [
                ("peer_host", .string(state.address.host)), ("peer_port", .integer(state.address.port)),
                ("size_bytes", .integer(4_194_304)),
            ]
            switch options.disaggregation.ecConnector {
            case .none, .example: continue
            case .nixl:
                parameters.append((hash, .object(peer + [("nixl_agent_metadata_b64", .string("c2lt"))])))
            case .nixl2:
                let metadata = JSONValue.object([
                    ("image_grid_thw", .array([.integer(1), .integer(16), .integer(16)]))
                ])
                let head: [(String, JSONValue)] = [
                    ("item_indices", .array([.integer(position)])), ("metadata", metadata),
                ]
                parameters.append((hash, .object(head + peer)))
            }
        }
        state.log.change(active.number) { $0.kvID = active.request.items.first.map { Self.hash(ofItem: $0) } }
        guard !parameters.isEmpty else { return }
        handOff.members.removeAll { $0.0 == "ec_transfer_params" }
        handOff.members.append(("ec_transfer_params", .object(parameters)))
    }

    /// Looks for the embeddings of a request's items where its parameters say they are. An item that is not found is encoded here.
    func fetchEmbeddings(_ active: ActiveRequest, _ state: inout State) {
        guard role != .encode, options.disaggregation.ecConnector != .none else { return }
        for item in active.request.items {
            let hash = Self.hash(ofItem: item)
            let place = active.request.embeddingParameters?[hash]
            guard let host = place?["peer_host"]?.string, let port = place?["peer_port"]?.integer else {
                count(.embeddingMiss, &state)
                continue
            }
            let message = JSONValue.object([("key", .string(hash))])
            state.after.append { [self] in
                let address = SideChannel.Address(host: host, port: port)
                SideChannel.send(.embedding, message, to: address, within: .seconds(5)) { [weak self] answer in
                    guard let self else { return }
                    var isThere = false
                    if case .message(let reply) = answer { isThere = reply["ok"]?.bool == true }
                    update { [isThere] state in count(isThere ? .embeddingHit : .embeddingMiss, &state) }
                }
            }
        }
    }
}
