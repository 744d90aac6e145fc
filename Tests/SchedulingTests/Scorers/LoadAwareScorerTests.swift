import Scheduling
import Testing

@Suite("load-aware-scorer")
struct LoadAwareScorerTests {
    @Test("0.5 without a queue, 0 from 128 waiting requests on, in proportion between")
    func formula() {
        let pages = [0, 1, 64, 127, 128, 500].map { Page(waiting: $0) }
        let expected: [Float] = [0.5, 0.5 * (1 - 1 / 128.0), 0.25, 0.5 / 128, 0, 0]
        #expect(isClose(scores(LoadAwareScorer(), pages), expected))
    }

    @Test("The threshold is a parameter, at least 1; one endpoint scores as many do")
    func threshold() {
        #expect(isClose(scores(LoadAwareScorer(threshold: 10), [Page(waiting: 5)]), [0.25]))
        #expect(LoadAwareScorer(threshold: 0).threshold == 1)
    }
}
