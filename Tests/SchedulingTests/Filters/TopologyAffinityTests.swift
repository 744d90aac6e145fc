import Pool
import Scheduling
import Testing

@Suite("topology-affinity-filter and -scorer")
struct TopologyAffinityTests {
    private static func place(_ host: String?, _ rack: String?, _ zone: String?, _ region: String?) -> [String: String]
    {
        var labels: [String: String] = [:]
        labels["kubernetes.io/hostname"] = host
        labels["topology.kubernetes.io/rack"] = rack
        labels["topology.kubernetes.io/zone"] = zone
        labels["topology.kubernetes.io/region"] = region
        return labels
    }

    /// The peer, then one endpoint for each level, then one elsewhere and one that says nothing.
    private let pool = makePool(labels: [
        place("h", "r", "z", "g"), place("h", "r", "z", "g"), place("i", "r", "z", "g"), place("i", "s", "z", "g"),
        place("i", "s", "y", "g"), place("i", "s", "y", "f"), [:],
    ])

    private func request(peer index: Int?) -> SchedulingRequest {
        var request = SchedulingTests.request()
        request.peer = index.map { pool.snapshot.endpoints[$0] }
        return request
    }

    @Test("Near is what shares the smallest thing asked for, or a smaller one")
    func levels() {
        let expected: [(Topology.Level, [Int])] = [
            (.host, [0, 1]), (.rack, [0, 1, 2]), (.zone, [0, 1, 2, 3]), (.region, [0, 1, 2, 3, 4]),
        ]
        for (level, positions) in expected {
            let filter = TopologyAffinityFilter(minAffinity: level)
            #expect(kept(filter, pool.everyone, request(peer: 0)) == positions)
        }
    }

    @Test("Without a peer, with one whose place is unknown, and with nobody near, everybody passes")
    func open() {
        let everyone = Array(0..<7)
        #expect(kept(TopologyAffinityFilter(), pool.everyone, request(peer: nil)) == everyone)
        #expect(kept(TopologyAffinityFilter(), pool.everyone, request(peer: 6)) == everyone)
        let far = Candidates(snapshot: pool.snapshot, indexes: [5, 6])
        #expect(kept(TopologyAffinityFilter(), far, request(peer: 0)) == [5, 6])
    }

    @Test("Two unknown places are nothing in common")
    func unknown() {
        #expect(Topology().nearness(to: Topology()) == .none)
        #expect(Topology(host: "").nearness(to: Topology(host: "")) == .none)
        #expect(Topology(host: "a", zone: "z").nearness(to: Topology(zone: "z")) == .zone)
    }

    @Test("Scores are 1, 0.2, 0.05, 0.02 and 0")
    func scores() {
        let found = SchedulingTests.scores(TopologyAffinityScorer(), pool.everyone, request(peer: 0))
        #expect(isClose(found, [1, 1, 0.2, 0.05, 0.02, 0, 0]))
        #expect(SchedulingTests.scores(TopologyAffinityScorer(), pool.everyone).allSatisfy { $0 == 0 })
    }

    @Test("A header tells of a peer that another picker picked")
    func header() {
        let request = SchedulingTests.request(headers: ["x-peer": "zone=y,unknown=1,broken,region=g"])
        let filter = TopologyAffinityFilter(minAffinity: .zone, peerHeader: "X-Peer")
        #expect(kept(filter, pool.everyone, request) == [4, 5])
        let found = SchedulingTests.scores(TopologyAffinityScorer(peerHeader: "x-peer"), pool.everyone, request)
        #expect(isClose(found, [0.02, 0.02, 0.02, 0.02, 0.05, 0.05, 0]))
        // A peer that was picked here goes before.
        var both = request
        both.peer = pool.snapshot.endpoints[0]
        #expect(kept(TopologyAffinityFilter(peerHeader: "x-peer"), pool.everyone, both) == [0, 1])
    }
}
