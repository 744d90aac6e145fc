package import Bytes
package import Pool

/// `utilization-filter`: the endpoints none of whose values is above its limit.
package struct UtilizationFilter: Filter {
    package enum Metric: String, Sendable, CaseIterable {
        /// What Apus itself has in flight there.
        case activeRequests = "active-requests"
        case runningRequests = "running-requests"
        case waitingQueue = "waiting-queue"
        /// 0...1.
        case kvCacheUtilization = "kv-cache-utilization"

        func value(of candidate: Candidates.Candidate) -> Double {
            switch self {
            case .activeRequests: Double(candidate.inFlightRequests)
            case .runningRequests: Double(candidate.running)
            // A limit, unlike a score, must not count what an idle engine is about to run; active-requests is there for that.
            case .waitingQueue: Double(candidate.scrapedWaiting)
            case .kvCacheUtilization: Double(candidate.kvCacheUsage)
            }
        }
    }

    package struct Condition: Sendable, Equatable {
        package var metric: Metric
        /// A value that equals it passes.
        package var maxValue: Double

        package init(metric: Metric, maxValue: Double) {
            self.metric = metric
            self.maxValue = maxValue
        }
    }

    package let conditions: [Condition]
    /// Whether everybody passes when nobody would.
    package let fallbackOnEmpty: Bool

    package init(conditions: [Condition], fallbackOnEmpty: Bool = false) {
        self.conditions = conditions
        self.fallbackOnEmpty = fallbackOnEmpty
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        let kept = candidates.filtered { position in
            // Single precision is what the load is kept in; a limit of 0.8 must let 0.8 pass.
            conditions.allSatisfy { Float($0.metric.value(of: candidates.list[position])) <= Float($0.maxValue) }
        }
        return kept.isEmpty && fallbackOnEmpty ? candidates : kept
    }
}
