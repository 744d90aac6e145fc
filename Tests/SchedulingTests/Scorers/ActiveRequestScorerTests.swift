import Pool
import Scheduling
import Testing

@Suite("active-request-scorer")
struct ActiveRequestScorerTests {
    /// Endpoints with 0, 1, 2 and 4 requests in flight.
    private let pool = makePool(count: 4)
    private let loads: Loads

    private final class Loads {
        var held: [Held] = []
    }

    private final class Held {
        private let reservation: Reservation
        init(_ reservation: consuming Reservation) { self.reservation = reservation }
    }

    init() {
        loads = Loads()
        for (index, count) in [0, 1, 2, 4].enumerated() {
            for _ in 0..<count { loads.held.append(Held(pool.reserve(pool.snapshot.endpoints[index], tokens: 1))) }
        }
    }

    @Test("Idle is 1, the busiest 0, the others in proportion to what they are short of it")
    func formula() {
        #expect(isClose(scores(ActiveRequestScorer(), pool.everyone), [1, 0.75, 0.5, 0]))
    }

    @Test("Up to idleThreshold an endpoint is idle; maxBusyScore parts it from the busy ones")
    func parameters() {
        let scorer = ActiveRequestScorer(idleThreshold: 1, maxBusyScore: 0.5)
        #expect(isClose(scores(scorer, pool.everyone), [1, 1, 0.25, 0]))
        #expect(isClose(scores(ActiveRequestScorer(maxBusyScore: 0), pool.everyone), [1, 0, 0, 0]))
    }

    @Test("Equally busy endpoints score 0, idle ones 1")
    func equal() {
        let busy = Candidates(snapshot: pool.snapshot, indexes: [3])
        #expect(scores(ActiveRequestScorer(), busy) == [0])
        #expect(scores(ActiveRequestScorer(), makePool(count: 2).everyone) == [1, 1])
    }
}
