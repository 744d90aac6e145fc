import Pool
import Scheduling

/// A peer, then one endpoint for each level, then one elsewhere and one that says nothing.
struct TopologyFixture {
    let pool = makePool(labels: [
        place("h", "r", "z", "g"), place("h", "r", "z", "g"), place("i", "r", "z", "g"), place("i", "s", "z", "g"),
        place("i", "s", "y", "g"), place("i", "s", "y", "f"), [:],
    ])

    /// A request whose other stage is at that endpoint.
    func request(peer index: Int?) -> SchedulingRequest {
        var request = SchedulingTests.request()
        request.peer = index.map { pool.snapshot.endpoints[$0] }
        return request
    }

    private static func place(_ host: String, _ rack: String, _ zone: String, _ region: String) -> [String: String] {
        [
            "kubernetes.io/hostname": host, "topology.kubernetes.io/rack": rack, "topology.kubernetes.io/zone": zone,
            "topology.kubernetes.io/region": region,
        ]
    }
}
