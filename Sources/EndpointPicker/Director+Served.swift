internal import Bytes
internal import Pool
internal import Scheduling
internal import Telemetry

// A gateway may answer a request by another endpoint than the one it was sent to: after a retry, or from further down the list.
extension Director {
    /// Moves a request's load to the endpoint that serves it, and lets the prefix cache know of the prompt there.
    ///
    /// - Parameter hostPort: `ip:port` as the gateway tells it. One that is not in the pool changes nothing.
    func move(
        _ reservation: consuming Reservation,
        to hostPort: String,
        prompt: PlacedPrompt?,
        record: RequestRecord
    ) -> Reservation {
        let snapshot = pool.snapshot
        guard let index = snapshot.index(at: hostPort) else { return reservation }
        // The gateway tried the pick and went on, so for now others are preferred.
        pool.suspect(reservation.endpoint, at: .now())
        if let prompt, !prompt.blocks.hashes.isEmpty {
            prompt.cache.record(prompt.blocks, snapshot, index: index)
        }
        record.pick = RequestRecord.Pick(snapshot.endpoints[index])
        record.predictedCachedTokens = nil
        return pool.reserve(snapshot.endpoints[index], tokens: reservation.tokens)
    }
}

/// A request's prompt as the prefix cache of its decision knows it.
struct PlacedPrompt: Sendable {
    let blocks: PromptBlocks
    let cache: ApproximatePrefixCache
}

extension RequestRecord.Pick {
    init(_ endpoint: Endpoint) {
        self.init(
            address: endpoint.hostPort,
            name: endpoint.identity.name,
            namespace: endpoint.identity.namespace,
            port: endpoint.port
        )
    }
}
