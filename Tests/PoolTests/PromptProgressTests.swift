import Bytes
import Testing

@testable import Pool

@Suite("How far an endpoint is with its prompts")
struct PromptProgressTests {
    private final class Clock: Sendable {
        private let time = Lock(MonotonicTime.at(0))

        var now: MonotonicTime { time.withLock { $0 } }
        func advance(to milliseconds: Int) { time.withLock { $0 = .at(milliseconds) } }
    }

    private let clock = Clock()
    private let pool: Pool
    private let endpoint: Endpoint

    init() {
        pool = Pool(stalenessThreshold: .seconds(2), clock: { [clock] in clock.now })
        pool.replaceEndpoints([description("1")])
        endpoint = pool.snapshot.endpoints[0]
    }

    private var done: Float { pool.candidates(at: clock.now).list[0].doneTokens }

    /// One prompt of 1,000 tokens that takes 100 ms, from `start` on.
    private func learn(from start: Int = 0) {
        clock.advance(to: start)
        var reservation = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: start + 100)
        reservation.releaseTokens()
        reservation.release()
    }

    @Test("Nothing is taken to be done before an answer has shown how long prompts take")
    func unknown() {
        let reservation = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 60_000)
        #expect(done == 0)
        reservation.release()
        let other = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 120_000)
        // It left without an answer, which tells nothing.
        #expect(done == 0)
        other.release()
    }

    @Test("Afterwards the oldest prompt is done by the time since it was sent, and by no more than it has")
    func oldest() {
        learn()
        clock.advance(to: 1_000)
        let first = pool.reserve(endpoint, tokens: 2_000)
        #expect(done == 0)
        clock.advance(to: 1_050)
        #expect(done == 500)
        let second = pool.reserve(endpoint, tokens: 4_000)
        clock.advance(to: 5_000)
        #expect(done == 2_000)
        first.release()
        second.release()
        #expect(done == 0)
    }

    @Test("The next prompt is begun when the answer to the one before it begins, or when that is gone")
    func next() {
        learn()
        var first = pool.reserve(endpoint, tokens: 1_000)
        let second = pool.reserve(endpoint, tokens: 1_000)
        let third = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 200)
        first.releaseTokens()
        #expect(done == 0)
        clock.advance(to: 230)
        #expect(done == 300)
        second.release()
        #expect(done == 0)
        clock.advance(to: 270)
        #expect(done == 400)
        // The first goes on answering, which changes nothing.
        first.release()
        #expect(done == 400)
        third.release()
    }

    @Test("A prompt that leaves from behind does not begin the first anew")
    func behind() {
        learn()
        let first = pool.reserve(endpoint, tokens: 1_000)
        let second = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 150)
        second.release()
        #expect(done == 500)
        first.release()
    }

    @Test("What was learnt long ago counts less than what was learnt now")
    func forgetting() {
        learn()
        for second in 1...60 {
            clock.advance(to: 1_000 * second)
            var reservation = pool.reserve(endpoint, tokens: 1_000)
            clock.advance(to: 1_000 * second + 1_000)
            reservation.releaseTokens()
            reservation.release()
        }
        let slow = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 61_500)
        #expect(abs(done - 500) < 25)
        slow.release()
        for run in 0..<400 { learn(from: 100_000 + 100 * run) }
        let fast = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 140_050)
        #expect(done > 400)
        fast.release()
    }

    @Test("Who does not say when it is, is told of nothing done")
    func withoutTime() {
        learn()
        let reservation = pool.reserve(endpoint, tokens: 1_000)
        clock.advance(to: 1_000)
        #expect(Candidates(snapshot: pool.snapshot, indexes: [0]).list[0].doneTokens == 0)
        reservation.release()
    }
}
