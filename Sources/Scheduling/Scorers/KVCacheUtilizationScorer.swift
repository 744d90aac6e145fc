package import Pool

/// `kv-cache-utilization-scorer`: the free share of the KV cache, `1 − usage`.
package struct KVCacheUtilizationScorer: Scorer {
    package init() {}

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        for position in scores.indices {
            scores[position] = 1 - candidates.list[position].kvCacheUsage
        }
    }
}
