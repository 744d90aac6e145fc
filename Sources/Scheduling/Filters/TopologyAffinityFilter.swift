package import Bytes
package import Pool

/// `topology-affinity-filter`: the endpoints near the one that was picked for another stage. Everybody passes when that one's place is not
/// known, or nobody is near it.
package struct TopologyAffinityFilter: Filter {
    package let minAffinity: Topology.Level
    /// The header that tells of the other endpoint where this picker did not pick it; in lower case.
    package let peerHeader: String?

    package init(minAffinity: Topology.Level = .host, peerHeader: String? = nil) {
        self.minAffinity = minAffinity
        self.peerHeader = peerHeader.map(ASCII.lowercased)
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        guard let peer = Topology.ofPeer(request, header: peerHeader) else { return candidates }
        let near = candidates.filtered { peer.nearness(to: Topology(candidates.endpoint($0))) <= minAffinity }
        return near.isEmpty ? candidates : near
    }
}
