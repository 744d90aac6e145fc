package import Pool

/// `active-request-scorer`: 1 for endpoints with no more than `idleThreshold` requests in flight, else `(max − n) / max × maxBusyScore`, n being
/// the requests that Apus has in flight there and max the most of any candidate.
package struct ActiveRequestScorer: Scorer {
    package let idleThreshold: Int
    /// 0...1.
    package let maxBusyScore: Float

    package init(idleThreshold: Int = 0, maxBusyScore: Float = 1) {
        self.idleThreshold = idleThreshold
        self.maxBusyScore = maxBusyScore
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        var most = 0
        for candidate in candidates.list { most = max(most, candidate.inFlightRequests) }
        for position in scores.indices {
            let count = candidates.list[position].inFlightRequests
            // Above the threshold, which is at least 0, there is something in flight, so the most is above 0.
            scores[position] = count <= idleThreshold ? 1 : Float(most - count) / Float(most) * maxBusyScore
        }
    }
}
