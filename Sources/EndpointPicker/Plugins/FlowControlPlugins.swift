internal import Admission
internal import Bytes
internal import Configuration
internal import Pool
internal import Scheduling

extension PluginRegistry {
    /// Saturation detectors and the policies of flow control.
    static let flowControlPlugins: [String: Factory] = [
        "utilization-detector": { parameters in
            var detector = UtilizationDetector()
            if let depth = parameters.integer("queueDepthThreshold", in: 1...Int(Int32.max)) {
                detector.queueDepthThreshold = depth
            }
            if let share = parameters.number("kvCacheUtilThreshold", in: 0.0001...1) {
                detector.kvCacheUtilThreshold = share
            }
            let times: ClosedRange<Duration> = .milliseconds(1)...(.seconds(86_400))
            if let threshold = parameters.duration("metricsStalenessThreshold", in: times) {
                detector.metricsStalenessThreshold = threshold
            }
            if let headroom = parameters.number("headroom", in: 0...1_000) { detector.headroom = headroom }
            return .saturationDetector(detector)
        },
        "concurrency-detector": { parameters in
            var detector = ConcurrencyDetector()
            if let limit = parameters.integer("maxConcurrency", in: 1...Int(Int32.max)) {
                detector.maxConcurrency = limit
            }
            if let limit = parameters.integer("maxTokenConcurrency", in: 1...(1 << 40)) {
                detector.maxTokenConcurrency = limit
            }
            let modes = ConcurrencyDetector.Mode.allCases.map(\.rawValue)
            if let mode = parameters.string("concurrencyMode", oneOf: modes) {
                detector.mode = ConcurrencyDetector.Mode(rawValue: mode) ?? detector.mode
            }
            if let headroom = parameters.number("headroom", in: 0...1_000) { detector.headroom = headroom }
            return readingInFlightLoad(&parameters, .saturationDetector(detector))
        },
        "fcfs-ordering-policy": { _ in .ordering(FCFSOrderingPolicy()) },
        "edf-ordering-policy": { _ in .ordering(EDFOrderingPolicy()) },
        "slo-deadline-ordering-policy": { _ in .ordering(SLODeadlineOrderingPolicy()) },
        "global-strict-fairness-policy": { _ in .fairness(GlobalStrictFairnessPolicy()) },
        "round-robin-fairness-policy": { _ in .fairness(RoundRobinFairnessPolicy()) },
        "static-usage-limit-policy": { parameters in
            .usageLimit(StaticUsageLimitPolicy(threshold: parameters.number("threshold", in: 0.001...1) ?? 1))
        },
        // What is evicted, and in which order, is what these ask for.
        "sheddable-eviction-filter": { _ in .builtIn(kind: "an eviction filter") },
        "eviction-sheddable-filter": { _ in .builtIn(kind: "an eviction filter") },
        "priority-then-time-eviction-order-policy": { _ in .builtIn(kind: "an eviction order") },
        "eviction-priority-then-time-ordering": { _ in .builtIn(kind: "an eviction order") },
    ]
}

/// A saturation detector in a profile: it keeps the endpoints that have room.
struct SaturationFilter: Filter {
    let detector: any SaturationDetector

    func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        let kept = candidates.filtered {
            detector.hasRoom($0, of: candidates, isFresh: candidates.list[$0].preference == .fresh)
        }
        return kept.isEmpty && detector.failsOpen ? candidates : kept
    }
}
