package import Pool

/// `token-load-scorer`: `1 − min(t, threshold) / threshold`, t being the tokens that Apus has in flight at the endpoint.
package struct TokenLoadScorer: Scorer {
    package static let defaultQueueThresholdTokens = 4_194_304

    /// Tokens in flight at which the score reaches 0; at least 1.
    package let queueThresholdTokens: Int

    package init(queueThresholdTokens: Int = defaultQueueThresholdTokens) {
        self.queueThresholdTokens = max(1, queueThresholdTokens)
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        let threshold = Float(queueThresholdTokens)
        for position in scores.indices {
            let tokens = candidates.list[position].inFlightTokens
            scores[position] = tokens <= 0 ? 1 : 1 - min(Float(tokens), threshold) / threshold
        }
    }
}
