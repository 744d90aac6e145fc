import Pool
import Scheduling
import Testing

@Suite("endpoint-attribute-scorer")
struct EndpointAttributeScorerTests {
    private let pages = [Page(waiting: 2), Page(waiting: 4), Page(waiting: 10)]

    @Test("Over the candidates' own range")
    func adaptive() {
        let lower = EndpointAttributeScorer(attribute: .waitingQueueSize, lowerIsBetter: true)
        #expect(isClose(scores(lower, pages), [1, 0.75, 0]))
        let higher = EndpointAttributeScorer(attribute: .waitingQueueSize, lowerIsBetter: false)
        #expect(isClose(scores(higher, pages), [0, 0.25, 1]))
    }

    @Test("Equal numbers score 1, whichever is better; so does a single one")
    func equal() {
        for isLower in [true, false] {
            let scorer = EndpointAttributeScorer(attribute: .runningRequestsSize, lowerIsBetter: isLower)
            #expect(scores(scorer, [Page(running: 3), Page(running: 3)]) == [1, 1])
            #expect(scores(scorer, [Page(running: 3)]) == [1])
        }
    }

    @Test("Over a fixed range, with what lies outside at its ends")
    func fixed() {
        let scorer = EndpointAttributeScorer(attribute: .waitingQueueSize, lowerIsBetter: true, fixedRange: 4...8)
        #expect(isClose(scores(scorer, [2, 4, 5, 8, 20].map { Page(waiting: $0) }), [1, 1, 0.75, 0, 0]))
    }

    @Test("Who has not told the number scores 0 and does not stretch the range")
    func missing() {
        let scorer = EndpointAttributeScorer(attribute: .cacheNumBlocks, lowerIsBetter: false)
        let pages = [Page(blockCount: 100), Page(blockCount: 0), Page(blockCount: 300)]
        #expect(scores(scorer, pages) == [0, 0, 1])
        #expect(scores(scorer, [Page(), Page()]) == [0, 0])
    }
}
