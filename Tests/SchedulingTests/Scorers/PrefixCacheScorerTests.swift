import Bytes
import Pool
import Testing

@testable import Scheduling

@Suite("prefix-cache-scorer")
struct PrefixCacheScorerTests {
    private func matched(_ blocks: [Int32], of total: Int) -> SchedulingRequest {
        var request = request()
        request.prefixMatches = PrefixMatches(totalBlocks: total, blockTokens: 64, matchedBlocks: blocks)
        return request
    }

    @Test("The score is the share of the prompt's blocks that the endpoint holds")
    func formula() {
        let pool = makePool(count: 4)
        let request = matched([0, 1, 2, 4], of: 4)
        #expect(isClose(scores(PrefixCacheScorer(), pool.everyone, request), [0, 0.25, 0.5, 1]))
    }

    @Test("No blocks and no producer score 0")
    func nothing() {
        let pool = makePool(count: 2)
        #expect(scores(PrefixCacheScorer(), pool.everyone, matched([], of: 0)) == [0, 0])
        #expect(scores(PrefixCacheScorer(), pool.everyone) == [0, 0])
    }

    @Test("With a weight the square of the match's length counts, up to the scale")
    func length() {
        let pool = makePool(count: 3)
        let request = matched([0, 8, 64], of: 128)
        let scorer = PrefixCacheScorer(matchLengthWeight: 0.5, matchLengthScaleTokens: 1_024)
        // 8 blocks are 512 tokens: half of the scale, and a sixteenth of the prompt; 64 are four times the scale.
        let expected: [Float] = [0, 0.125 + 0.03125, 0.5 + 0.25]
        #expect(isClose(scores(scorer, pool.everyone, request), expected))
    }

    @Test("Filtered candidates keep their own matches")
    func filtered() {
        let pool = makePool(count: 3)
        let few = pool.everyone.filtered { $0 != 0 }
        #expect(isClose(scores(PrefixCacheScorer(), few, matched([4, 2, 1], of: 4)), [0.5, 0.25]))
    }
}
