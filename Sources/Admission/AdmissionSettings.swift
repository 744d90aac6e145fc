package import Bytes

/// How requests are let in.
package struct AdmissionSettings: Sendable {
    /// What says how full the pool is.
    package var detector: any SaturationDetector
    /// Nil keeps the old rule: a sheddable request is dropped while the pool is saturated, and every other one goes at once.
    package var flowControl: FlowControlSettings?

    package init(
        detector: any SaturationDetector = UtilizationDetector(),
        flowControl: FlowControlSettings? = nil
    ) {
        self.detector = detector
        self.flowControl = flowControl
    }
}

/// How requests wait while the pool is saturated.
package struct FlowControlSettings: Sendable {
    /// The most that waits in all bands together; nil is no limit.
    package var maxRequests: Int?
    /// The bytes of the bodies that wait in all bands together; nil is no limit.
    package var maxBytes: Int?
    /// How long a request waits for a pool that has endpoints; nil is as long as its client does.
    package var requestTTL: Duration? = .seconds(60)
    /// How long a request waits while the pool has no endpoint; nil is as long as its client does.
    package var noEndpointTTL: Duration? = .seconds(60)
    /// The band of priorities that `bands` does not name, and that of such priorities below 0.
    package var defaultBand = BandSettings()
    package var defaultNegativeBand: BandSettings?
    package var bands: [Int: BandSettings] = [:]
    package var usageLimit: any UsageLimitPolicy = StaticUsageLimitPolicy()
    /// Whether sheddable requests that are already with a model server make room for others.
    package var evictsDispatched = false

    package init() {}

    func band(of priority: Int) -> BandSettings {
        bands[priority] ?? (priority < 0 ? defaultNegativeBand : nil) ?? defaultBand
    }
}

/// What waits at one priority, and in which order it goes.
package struct BandSettings: Sendable {
    package var maxRequests = 5_000
    /// Bytes of bodies.
    package var maxBytes = 1_000_000_000
    package var ordering: any OrderingPolicy = FCFSOrderingPolicy()
    package var fairness: any FairnessPolicy = GlobalStrictFairnessPolicy()

    package init() {}
}

/// What admission needs to know of a request.
package struct AdmissionRequest: Sendable {
    /// Whose turn it is when requests of one priority wait.
    package var fairnessID: String
    /// Higher goes first; below 0 is sheddable.
    package var priority: Int
    /// What its body holds in memory while it waits.
    package var byteCount: Int
    /// The tokens it is estimated to cost.
    package var tokens: Int
    package var receivedAt: MonotonicTime
    /// The time to the first token that its client wants, from when it was received.
    package var timeToFirstToken: Duration?
    /// How long its client lets it wait, whatever the settings say.
    package var timeToLive: Duration?

    package init(
        fairnessID: String = "default-flow",
        priority: Int = 0,
        byteCount: Int = 0,
        tokens: Int = 0,
        receivedAt: MonotonicTime,
        timeToFirstToken: Duration? = nil,
        timeToLive: Duration? = nil
    ) {
        self.fairnessID = fairnessID
        self.priority = priority
        self.byteCount = max(0, byteCount)
        self.tokens = min(max(0, tokens), 1 << 40)
        self.receivedAt = receivedAt
        self.timeToFirstToken = timeToFirstToken
        self.timeToLive = timeToLive
    }

    package var isSheddable: Bool { priority < 0 }
}
