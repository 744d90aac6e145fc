import Pool
import Scheduling
import Testing

@Suite("topology-affinity-filter")
struct TopologyAffinityFilterTests {
    private let fixture = TopologyFixture()
    private var pool: Pool { fixture.pool }

    private func request(peer index: Int?) -> SchedulingRequest { fixture.request(peer: index) }

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

    @Test("A header tells of a peer that another picker picked; one that was picked here goes before")
    func header() {
        let request = SchedulingTests.request(headers: ["x-peer": "zone=y,unknown=1,broken,region=g"])
        let filter = TopologyAffinityFilter(minAffinity: .zone, peerHeader: "X-Peer")
        #expect(kept(filter, pool.everyone, request) == [4, 5])
        var both = request
        both.peer = pool.snapshot.endpoints[0]
        #expect(kept(TopologyAffinityFilter(peerHeader: "x-peer"), pool.everyone, both) == [0, 1])
    }
}
