import Scheduling
import Testing

@Suite("running-requests-size-scorer")
struct RunningRequestsSizeScorerTests {
    @Test("The fewest running requests score 1, the most 0, others in proportion; waiting ones do not matter")
    func formula() {
        let pages = [Page(waiting: 9, running: 4), Page(running: 0), Page(waiting: 1, running: 1)]
        #expect(isClose(scores(RunningRequestsSizeScorer(), pages), [0, 1, 0.75]))
    }

    @Test("Equal numbers all score 1")
    func equal() {
        #expect(scores(RunningRequestsSizeScorer(), [Page(running: 3), Page(running: 3)]) == [1, 1])
        #expect(scores(RunningRequestsSizeScorer(), [Page(running: 3)]) == [1])
    }
}
