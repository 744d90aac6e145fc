package import Pool

/// A number that an endpoint is known by, for policies that are told which one to use. The names are the reference's metric attributes.
package enum EndpointAttribute: String, Sendable, CaseIterable {
    case waitingQueueSize = "WaitingQueueSize"
    case runningRequestsSize = "RunningRequestsSize"
    /// 0...1.
    case kvCacheUsagePercent = "KVCacheUsagePercent"
    case maxActiveModels = "MaxActiveModels"
    case cacheBlockSize = "CacheBlockSize"
    case cacheNumBlocks = "CacheNumBlocks"
    case inFlightRequests = "InFlightRequests"
    case inFlightTokens = "InFlightTokens"

    /// The candidate's value; nil when it has told none.
    ///
    /// - Parameter isLimited: whether it is compared with a limit. Then it is what the page says: what was sent since counts in scores, but
    ///   idle engines are about to run it.
    package func value(at position: Int, of candidates: Candidates, isLimited: Bool = false) -> Double? {
        let candidate = candidates.list[position]
        switch self {
        case .inFlightRequests: return Double(candidate.inFlightRequests)
        case .inFlightTokens: return Double(candidate.inFlightTokens)
        default: break
        }
        // Before the first page nothing of what follows is known.
        guard candidates.snapshot.scrapes[candidate.index].updatedAt != nil else { return nil }
        let metrics = candidates.snapshot.metrics
        switch self {
        case .waitingQueueSize where isLimited: return Double(metrics[candidate.index].waitingQueueSize)
        case .runningRequestsSize where isLimited: return Double(metrics[candidate.index].runningRequests)
        case .kvCacheUsagePercent where isLimited: return metrics[candidate.index].kvCacheUsage
        case .waitingQueueSize: return Double(candidate.waiting)
        case .runningRequestsSize: return Double(candidate.running)
        case .kvCacheUsagePercent: return Double(candidate.kvCacheUsage)
        case .maxActiveModels: return Self.known(metrics[candidate.index].maxActiveModels)
        case .cacheBlockSize: return Self.known(metrics[candidate.index].cacheBlockSize)
        case .cacheNumBlocks: return Self.known(metrics[candidate.index].cacheBlockCount)
        case .inFlightRequests, .inFlightTokens: return nil
        }
    }

    private static func known(_ count: Int) -> Double? {
        count > 0 ? Double(count) : nil
    }
}
