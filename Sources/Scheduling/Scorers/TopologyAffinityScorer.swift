internal import Bytes
package import Pool

/// `topology-affinity-scorer`: how near the endpoint is to the one that was picked for another stage: same host 1, rack 0.2, zone 0.05, region
/// 0.02, else 0; 0 for all when that one's place is not known.
package struct TopologyAffinityScorer: Scorer {
    /// See `TopologyAffinityFilter`.
    package let peerHeader: String?
    package let labels: Topology.Labels

    package init(peerHeader: String? = nil, labels: Topology.Labels = Topology.Labels()) {
        self.labels = labels
        self.peerHeader = peerHeader.map(ASCII.lowercased)
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        guard let peer = Topology.ofPeer(request, labels, header: peerHeader) else { return }
        for position in scores.indices {
            scores[position] =
                switch peer.nearness(to: Topology(candidates.endpoint(position), labels)) {
                case .host: 1
                case .rack: 0.2
                case .zone: 0.05
                case .region: 0.02
                case .none: 0
                }
        }
    }
}
