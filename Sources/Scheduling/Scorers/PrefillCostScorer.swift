package import Pool

package struct PrefillCostScorer: Scorer {
    package var requestTokens: Float = 32
    package var scaleTokens: Float = 4096
    package var ownWeight: Float = 1
    package var memoryTokens: Float = 8192
    package var memoryThreshold: Float = 0.8
    package var externalTokens: Float = 500
    package var pageTokens: Float = 0

    package init() {}

    package var readsPrefixMatches: Bool { true }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        var least = Float.infinity
        for position in scores.indices {
            let candidate = candidates.list[position]
            let own = InFlightLoad.uncachedTokens(request, request.prefixMatches, at: candidate.index)
            var cost = Float(candidate.inFlightTokens) + ownWeight * Float(own)
            cost += requestTokens * Float(candidate.inFlightRequests)
            let over = max(0, candidate.kvCacheUsage - memoryThreshold) / (1 - memoryThreshold)
            cost += memoryTokens * over
            cost += pageTokens * candidate.running + externalTokens * candidate.queued
            scores[position] = cost
            least = min(least, cost)
        }
        for position in scores.indices {
            scores[position] = scaleTokens / (scaleTokens + scores[position] - least)
        }
    }
}
