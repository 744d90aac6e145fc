import Pool
import Scheduling
import Testing

@Suite("queue-scorer")
struct QueueScorerTests {
    @Test("The shortest queue scores 1, the longest 0, others in proportion")
    func formula() {
        let pages = [10, 0, 5, 8].map { Page(waiting: $0) }
        #expect(isClose(scores(QueueScorer(), pages), [0, 1, 0.5, 0.2]))
    }

    @Test("Equal queues all score 1, and so does a single endpoint")
    func equal() {
        #expect(scores(QueueScorer(), [Page(waiting: 7), Page(waiting: 7)]) == [1, 1])
        #expect(scores(QueueScorer(), [Page(waiting: 7)]) == [1])
        #expect(scores(QueueScorer(), [Page(), Page()]) == [1, 1])
    }

    @Test("Requests sent since the scrape count at once")
    func inFlight() {
        let pool = makePool([Page(waiting: 1), Page(waiting: 1)])
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 10)
        #expect(scores(QueueScorer(), pool.everyone) == [0, 1])
        reservation.release()
        #expect(scores(QueueScorer(), pool.everyone) == [1, 1])
    }
}
