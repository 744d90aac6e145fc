import Pool
import Scheduling
import Testing

@Suite("token-load-scorer")
struct TokenLoadScorerTests {
    @Test("Tokens in flight lower the score in proportion, down to 0 at the threshold")
    func formula() {
        let pool = makePool(count: 4)
        let endpoints = pool.snapshot.endpoints
        let quarter = pool.reserve(endpoints[1], tokens: 250)
        let all = pool.reserve(endpoints[2], tokens: 1_000)
        let more = pool.reserve(endpoints[3], tokens: 5_000)
        let scorer = TokenLoadScorer(queueThresholdTokens: 1_000)
        #expect(isClose(scores(scorer, pool.everyone), [1, 0.75, 0, 0]))
        quarter.release()
        all.release()
        more.release()
        #expect(scores(scorer, pool.everyone) == [1, 1, 1, 1])
    }

    @Test("The default threshold is 4194304, and none is below 1")
    func threshold() {
        #expect(TokenLoadScorer().queueThresholdTokens == 4_194_304)
        #expect(TokenLoadScorer(queueThresholdTokens: 0).queueThresholdTokens == 1)
        let pool = makePool(count: 1)
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 2_097_152)
        #expect(isClose(scores(TokenLoadScorer(), pool.everyone), [0.5]))
        reservation.release()
    }
}
