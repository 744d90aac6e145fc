package import Bytes

/// What scraping says of a model server's state.
package struct EndpointMetrics: Sendable, Equatable {
    /// Requests accepted by the engine and not yet running.
    package var waitingQueueSize = 0
    package var runningRequests = 0
    var freePlaces = FreePlaces()
    /// Share of the KV cache in use, 0...1.
    package var kvCacheUsage = 0.0
    /// LoRA adapters with running requests, and with requests that wait for a slot.
    package var activeModels: [String] = []
    package var waitingModels: [String] = []
    /// Adapters the engine can hold at once; 0 when unknown.
    package var maxActiveModels = 0
    /// Tokens in a KV cache block, and blocks in the cache; 0 when unknown.
    package var cacheBlockSize = 0
    package var cacheBlockCount = 0

    package init() {}
}

/// What one page says; nil members were not on it and leave the earlier value in place.
package struct MetricsUpdate: Sendable, Equatable {
    package struct Adapters: Sendable, Equatable {
        package var active: [String]
        package var waiting: [String]
        package var maximum: Int

        package init(active: [String], waiting: [String], maximum: Int) {
            self.active = active
            self.waiting = waiting
            self.maximum = maximum
        }
    }

    package var waitingQueueSize: Int?
    package var runningRequests: Int?
    package var kvCacheUsage: Double?
    package var adapters: Adapters?
    package var cacheBlockSize: Int?
    package var cacheBlockCount: Int?

    package init() {}

    /// Whether the page said nothing that Apus reads.
    package var isEmpty: Bool { self == MetricsUpdate() }

    /// - Parameter sent: the requests that were sent to the endpoint between the page before and this one.
    func apply(to metrics: inout EndpointMetrics, sent: Int) {
        let waited = metrics.waitingQueueSize
        if let waitingQueueSize { metrics.waitingQueueSize = waitingQueueSize }
        if let runningRequests { metrics.runningRequests = runningRequests }
        metrics.freePlaces.saw(
            waiting: metrics.waitingQueueSize,
            running: metrics.runningRequests,
            started: max(0, sent + waited - metrics.waitingQueueSize)
        )
        if let kvCacheUsage { metrics.kvCacheUsage = kvCacheUsage }
        if let adapters {
            metrics.activeModels = adapters.active
            metrics.waitingModels = adapters.waiting
            metrics.maxActiveModels = adapters.maximum
        }
        if let cacheBlockSize { metrics.cacheBlockSize = cacheBlockSize }
        if let cacheBlockCount { metrics.cacheBlockCount = cacheBlockCount }
    }
}

/// How scraping one endpoint goes.
package struct ScrapeStatus: Sendable, Equatable {
    /// When the latest good page was asked for; nil before the first.
    package var updatedAt: MonotonicTime?
    /// Scrapes that failed since the latest good one, and what the last of them said.
    package var failures = 0
    package var error: String?
    /// False from a refused connection (a scrape's, or a request's that the gateway reported) to the next good page.
    package var reachable = true
    /// When a gateway last reported that it could not connect.
    var suspectedAt: MonotonicTime?

    package init() {}
}
