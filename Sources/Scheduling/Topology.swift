package import Pool

/// Where an endpoint stands, as its labels say.
package struct Topology: Sendable, Equatable {
    /// How near two endpoints are: the smallest thing that they have in common.
    package enum Level: Int, Sendable, Comparable, CaseIterable {
        case host, rack, zone, region, none

        package static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }

        /// As parameters name it.
        package var name: String { "\(self)" }
    }

    package var host: String?
    package var rack: String?
    package var zone: String?
    package var region: String?

    package init(host: String? = nil, rack: String? = nil, zone: String? = nil, region: String? = nil) {
        self.host = host
        self.rack = rack
        self.zone = zone
        self.region = region
    }

    /// The labels of endpoints that say where they stand: by default those that Kubernetes gives nodes.
    package struct Labels: Sendable, Equatable {
        package var host = "kubernetes.io/hostname"
        package var rack = "topology.kubernetes.io/rack"
        package var zone = "topology.kubernetes.io/zone"
        package var region = "topology.kubernetes.io/region"

        package init() {}
    }

    package init(_ endpoint: Endpoint, _ labels: Labels = Labels()) {
        host = endpoint.labels[labels.host]
        rack = endpoint.labels[labels.rack]
        zone = endpoint.labels[labels.zone]
        region = endpoint.labels[labels.region]
    }

    /// From a header such as `host=a,rack=b,zone=c,region=d`; what it does not know of it leaves out.
    package init(header: String) {
        for pair in header.split(separator: ",") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2 else { continue }
            switch parts[0] {
            case "host": host = parts[1]
            case "rack": rack = parts[1]
            case "zone": zone = parts[1]
            case "region": region = parts[1]
            default: continue
            }
        }
    }

    /// What is unknown of either is not in common.
    package func nearness(to other: Topology) -> Level {
        func same(_ left: String?, _ right: String?) -> Bool { left != nil && left != "" && left == right }
        if same(host, other.host) { return .host }
        if same(rack, other.rack) { return .rack }
        if same(zone, other.zone) { return .zone }
        return same(region, other.region) ? .region : .none
    }

    /// Where the endpoint stands that another stage of the request was given: the one that was picked here, or else, where the stages are
    /// picked by several pickers, the one that a header tells of.
    static func ofPeer(_ request: SchedulingRequest, _ labels: Labels, header: String?) -> Topology? {
        if let peer = request.peer {
            let topology = Topology(peer, labels)
            if topology != Topology() { return topology }
        }
        return header.flatMap { request.header($0) }.flatMap { $0.isEmpty ? nil : Topology(header: $0) }
    }
}
