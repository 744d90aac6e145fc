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

        /// As the page has it: a limit, unlike a score, must not count what idle engines are about to run. Whoever wants what was sent
        /// since to count limits the active requests.
        func value(at position: Int, of candidates: Candidates) -> Double {
            let metrics = candidates.snapshot.metrics
            let candidate = candidates.list[position]
            return switch self {
            case .activeRequests: Double(candidate.inFlightRequests)
            case .runningRequests: Double(metrics[candidate.index].runningRequests)
            case .waitingQueue: Double(metrics[candidate.index].waitingQueueSize)
            case .kvCacheUtilization: metrics[candidate.index].kvCacheUsage
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
            conditions.allSatisfy { $0.metric.value(at: position, of: candidates) <= $0.maxValue }
        }
        return kept.isEmpty && fallbackOnEmpty ? candidates : kept
    }
}
