package import Bytes
package import Pool

/// `topology-affinity-filter`: the endpoints near the one that was picked for another stage. Everybody passes when that one's place is not
/// known, or nobody is near it.
package struct TopologyAffinityFilter: Filter {
    package let minAffinity: Topology.Level
    /// The header that tells of the other endpoint where this picker did not pick it; in lower case.
    package let peerHeader: String?
    package let labels: Topology.Labels

    package init(
        minAffinity: Topology.Level = .host,
        peerHeader: String? = nil,
        labels: Topology.Labels = Topology.Labels()
    ) {
        self.minAffinity = minAffinity
        self.labels = labels
        self.peerHeader = peerHeader.map(ASCII.lowercased)
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        guard let peer = Topology.ofPeer(request, labels, header: peerHeader) else { return candidates }
        let near = candidates.filtered { peer.nearness(to: Topology(candidates.endpoint($0), labels)) <= minAffinity }
        return near.isEmpty ? candidates : near
    }
}
