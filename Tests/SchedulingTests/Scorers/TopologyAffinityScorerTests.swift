import Pool
import Scheduling
import Testing

@Suite("topology-affinity-scorer")
struct TopologyAffinityScorerTests {
    private let fixture = TopologyFixture()
    private var pool: Pool { fixture.pool }

    private func request(peer index: Int?) -> SchedulingRequest { fixture.request(peer: index) }

    @Test("Scores are 1, 0.2, 0.05, 0.02 and 0")
    func scores() {
        let found = SchedulingTests.scores(TopologyAffinityScorer(), pool.everyone, request(peer: 0))
        #expect(isClose(found, [1, 1, 0.2, 0.05, 0.02, 0, 0]))
        #expect(SchedulingTests.scores(TopologyAffinityScorer(), pool.everyone).allSatisfy { $0 == 0 })
    }

    @Test("A header tells of a peer that another picker picked")
    func header() {
        let request = SchedulingTests.request(headers: ["x-peer": "zone=y,unknown=1,broken,region=g"])
        let found = SchedulingTests.scores(TopologyAffinityScorer(peerHeader: "x-peer"), pool.everyone, request)
        #expect(isClose(found, [0.02, 0.02, 0.02, 0.02, 0.05, 0.05, 0]))
    }
}
