package import Pool

/// `prefix-cache-scorer`: how much of the prompt the endpoint holds.
///
/// `w × min(1, matchedTokens / scale)² + (1 − w) × matchedBlocks / totalBlocks`; without blocks 0. The weight w is 0 unless configured, which
/// leaves the share of the blocks.
package struct PrefixCacheScorer: Scorer {
    package static let defaultMatchLengthScaleTokens = 8_192

    /// 0...1: what the absolute length of the match counts.
    package let matchLengthWeight: Float
    /// Tokens at which a match counts as long.
    package let matchLengthScaleTokens: Int

    package init(matchLengthWeight: Float = 0, matchLengthScaleTokens: Int = defaultMatchLengthScaleTokens) {
        self.matchLengthWeight = matchLengthWeight
        self.matchLengthScaleTokens = max(1, matchLengthScaleTokens)
    }

    package var readsPrefixMatches: Bool { true }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        guard let matches = request.prefixMatches, matches.totalBlocks > 0 else { return }
        let total = Float(matches.totalBlocks)
        for position in scores.indices {
            let blocks = matches.blocks(at: candidates.list[position].index)
            let share = Float(blocks) / total
            if matchLengthWeight == 0 {
                scores[position] = share
            } else {
                let length = min(
                    1,
                    Float(request.tokens(ofBlocks: blocks, matches.blockTokens)) / Float(matchLengthScaleTokens)
                )
                scores[position] = matchLengthWeight * length * length + (1 - matchLengthWeight) * share
            }
        }
    }
}
