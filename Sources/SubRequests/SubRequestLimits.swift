internal import Bytes

/// Why there is no permit.
package enum NoPermit: Error, Sendable, Equatable {
    /// As many sub-requests are under way as there may be at all: another endpoint would not do either.
    case overall
    /// As many as there may be to this endpoint.
    case endpoint
}

/// How many sub-requests are under way and how many may be: over all, and to each endpoint. What comes over it is refused at once, never queued.
package final class SubRequestLimits: Sendable {
    /// What there is to count.
    package struct Counts: Sendable, Equatable {
        /// Under way now.
        package var inUse = 0
        /// Of those, by endpoint; only endpoints that have some.
        package var perEndpoint: [String: Int] = [:]
        /// Refused since the start, for want of a permit over all and of one for the endpoint.
        package var refusedOverall: UInt64 = 0
        package var refusedByEndpoint: UInt64 = 0
    }

    private struct State {
        var counts = Counts()
        var maxConcurrent: Int
        var maxPerEndpoint: Int
    }

    private let state: Lock<State>

    package init(maxConcurrent: Int, maxPerEndpoint: Int) {
        state = Lock(State(maxConcurrent: maxConcurrent, maxPerEndpoint: maxPerEndpoint))
    }

    /// Sets new limits. Permits given out under higher ones stay valid.
    package func update(maxConcurrent: Int, maxPerEndpoint: Int) {
        state.withLock { state in
            state.maxConcurrent = maxConcurrent
            state.maxPerEndpoint = maxPerEndpoint
        }
    }

    /// A permit for one sub-request to the endpoint, a `host:port`.
    ///
    /// - Parameter isUrgent: whether it is given whatever the limits; it is counted all the same.
    package func acquire(_ endpoint: String, isUrgent: Bool = false) throws(NoPermit) -> SubRequestPermit {
        let refusal = state.withLock { state -> NoPermit? in
            guard isUrgent || state.counts.inUse < state.maxConcurrent else {
                state.counts.refusedOverall += 1
                return .overall
            }
            let used = state.counts.perEndpoint[endpoint, default: 0]
            guard isUrgent || used < state.maxPerEndpoint else {
                state.counts.refusedByEndpoint += 1
                return .endpoint
            }
            state.counts.inUse += 1
            state.counts.perEndpoint[endpoint] = used + 1
            return nil
        }
        if let refusal { throw refusal }
        return SubRequestPermit(limits: self, endpoint: endpoint)
    }

    /// The same, nil without saying why.
    package func tryAcquire(_ endpoint: String) -> SubRequestPermit? {
        do { return try acquire(endpoint) } catch { return nil }
    }

    /// Whether there is an endpoint for which no permit is left.
    package var isFullSomewhere: Bool {
        state.withLock { state in
            state.counts.inUse >= state.maxConcurrent
                || (state.counts.inUse >= state.maxPerEndpoint
                    && state.counts.perEndpoint.values.contains { $0 >= state.maxPerEndpoint })
        }
    }

    /// Whether a permit for the endpoint is left.
    package func hasRoom(_ endpoint: String) -> Bool {
        state.withLock { state in
            state.counts.inUse < state.maxConcurrent
                && state.counts.perEndpoint[endpoint, default: 0] < state.maxPerEndpoint
        }
    }

    fileprivate func giveBack(_ endpoint: String) {
        state.withLock { state in
            state.counts.inUse -= 1
            let left = state.counts.perEndpoint[endpoint, default: 1] - 1
            state.counts.perEndpoint[endpoint] = left == 0 ? nil : left
        }
    }

    package var counts: Counts {
        state.withLock { $0.counts }
    }

    /// Sub-requests under way to all endpoints.
    package var inUse: Int {
        state.withLock { $0.counts.inUse }
    }

    package func inUse(_ endpoint: String) -> Int {
        state.withLock { $0.counts.perEndpoint[endpoint, default: 0] }
    }
}

/// Leave to have one sub-request under way; given back when it goes out of scope.
package struct SubRequestPermit: ~Copyable, Sendable {
    private let limits: SubRequestLimits
    package let endpoint: String

    fileprivate init(limits: SubRequestLimits, endpoint: String) {
        self.limits = limits
        self.endpoint = endpoint
    }

    deinit {
        limits.giveBack(endpoint)
    }
}
