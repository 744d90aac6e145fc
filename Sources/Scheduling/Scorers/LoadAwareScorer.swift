package import Pool

/// `load-aware-scorer`: `0.5 × (1 − min(w, threshold) / threshold)`, w being the waiting requests. 0.5 without any, 0 from the threshold on.
package struct LoadAwareScorer: Scorer {
    package static let defaultThreshold = 128

    /// Waiting requests at which the score reaches 0; at least 1.
    package let threshold: Int

    package init(threshold: Int = defaultThreshold) {
        self.threshold = max(1, threshold)
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        let threshold = Float(threshold)
        for position in scores.indices {
            scores[position] = 0.5 * (1 - min(max(0, candidates.list[position].waiting), threshold) / threshold)
        }
    }
}
