package import Pool

/// `running-requests-size-scorer`: `(max − r) / (max − min)` over the candidates' running requests; 1 for all when they are equal.
package struct RunningRequestsSizeScorer: Scorer {
    package init() {}

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        FewerIsBetter.score(candidates, into: &scores) { $0.running }
    }
}
