package import Pool

/// `queue-scorer`: `(max − q) / (max − min)` over the candidates' waiting requests; 1 for all when they are equal.
package struct QueueScorer: Scorer {
    package init() {}

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        FewerIsBetter.score(candidates, into: &scores) { $0.waiting }
    }
}

/// The normalisation that several scorers share.
enum FewerIsBetter {
    /// `(max − x) / (max − min)` over the candidates; 1 for all when they are equal.
    @inline(__always)
    static func score(
        _ candidates: Candidates,
        into scores: inout MutableSpan<Float>,
        _ value: (Candidates.Candidate) -> Float
    ) {
        var lowest = Float.infinity
        var highest = -Float.infinity
        for candidate in candidates.list {
            lowest = min(lowest, value(candidate))
            highest = max(highest, value(candidate))
        }
        let range = highest - lowest
        for position in scores.indices {
            scores[position] = range > 0 ? (highest - value(candidates.list[position])) / range : 1
        }
    }
}
