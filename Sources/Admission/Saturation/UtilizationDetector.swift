package import Pool

/// `utilization-detector`: the mean over the endpoints of `max(waiting / queueDepthThreshold, kvCacheUsage / kvCacheUtilThreshold)`. An
/// endpoint whose metrics are too old counts 1. A request that was sent since the page waits only where the engine is not taken to run it at
/// once; what it takes of the cache counts.
package struct UtilizationDetector: SaturationDetector, Equatable {
    package var queueDepthThreshold = 5
    /// 0...1.
    package var kvCacheUtilThreshold = 0.8
    package var metricsStalenessThreshold = Duration.milliseconds(200)
    /// By how much, as a share, the filter lets endpoints go beyond the thresholds.
    package var headroom = 0.0

    package init() {}

    package var capacity: Double { 1 }
    package var stalenessThreshold: Duration? { metricsStalenessThreshold }
    package var failsOpen: Bool { true }

    package func load(of candidate: Candidates.Candidate, isFresh: Bool) -> Double {
        guard isFresh else { return 1 }
        return max(
            Double(candidate.queued) / Double(queueDepthThreshold),
            Double(candidate.kvCacheUsage) / kvCacheUtilThreshold
        )
    }

    /// A request counts as waiting until it is reserved. What it adds to the cache's share depends on the endpoint; where that is more
    /// than a place in the queue, it counts from the reservation on.
    package func load(ofRequests count: Int, tokens: Int) -> Double {
        Double(count) / Double(queueDepthThreshold)
    }

    package func hasRoom(_ position: Int, of candidates: Candidates, isFresh: Bool) -> Bool {
        let index = candidates.list[position].index
        let metrics = candidates.snapshot.metrics
        return isFresh && Double(metrics[index].waitingQueueSize) < Double(queueDepthThreshold) * (1 + headroom)
            && metrics[index].kvCacheUsage < kvCacheUtilThreshold * (1 + headroom)
    }
}
