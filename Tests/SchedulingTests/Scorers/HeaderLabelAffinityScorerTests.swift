import Scheduling
import Testing

@Suite("header-label-affinity-scorer")
struct HeaderLabelAffinityScorerTests {
    private let pool = makePool(labels: [["tier": "gold"], ["tier": "silver"], [:], ["tier": ""]])
    private let scorer = HeaderLabelAffinityScorer(headerName: "X-Tier", labelKey: "tier")

    @Test("1 where the label has the header's value, else 0")
    func match() {
        #expect(scores(scorer, pool.everyone, request(headers: ["x-tier": "gold"])) == [1, 0, 0, 0])
        #expect(scores(scorer, pool.everyone, request(headers: ["x-tier": "Gold"])) == [0, 0, 0, 0])
    }

    @Test("Without the header, or with an empty one, 0 for all")
    func absent() {
        #expect(scores(scorer, pool.everyone) == [0, 0, 0, 0])
        #expect(scores(scorer, pool.everyone, request(headers: ["x-tier": ""])) == [0, 0, 0, 0])
    }
}
