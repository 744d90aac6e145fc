package import Bytes

/// How admission ends for a request: each ends in exactly one of these.
package enum AdmissionOutcome: Sendable, Hashable, CaseIterable {
    /// It goes to the scheduler.
    case dispatched
    /// It is sheddable and the pool is saturated; only without flow control.
    case shed
    /// Its band, or the whole queue, is full.
    case queueFull
    /// The pool is empty and the queue full.
    case noEndpoints
    /// No endpoint came while it waited.
    case noEndpointsCame
    /// It waited for too long.
    case expired
    /// Its client hung up while it waited.
    case cancelled
    /// It gave its place in a full queue to a request of a higher priority.
    case displaced
    /// The picker is shutting down: it was not queued, or had to leave the queue.
    case refusedByShutdown
    case shuttingDown

    /// The value of the metrics' label `outcome`, in the router's words as far as it has any.
    package var label: String {
        switch self {
        case .dispatched: "Dispatched"
        case .shed, .queueFull: "RejectedCapacity"
        case .noEndpoints: "RejectedNoEndpoints"
        case .noEndpointsCame: "EvictedNoEndpoints"
        case .refusedByShutdown: "RejectedOther"
        case .expired: "EvictedTTL"
        case .cancelled: "EvictedContextCancelled"
        case .displaced: "EvictedPreempted"
        case .shuttingDown: "EvictedOther"
        }
    }
}

/// The answer to a request that asks to be let in.
package enum Admission: ~Copyable {
    case admitted(AdmissionGrant)
    /// It must wait: ask `AdmissionController.outcome(of:)`, exactly once.
    case queued(QueuedRequest)
    case refused(AdmissionOutcome)
}

/// The right to be sent to an endpoint, held until the request's load is reserved there.
///
/// Until then nobody else can see that load in the pool. The grant stands for it: the controller counts it into the saturation from the
/// moment in which it admits the request, and gives it up when the grant is dropped, after the reservation, or without one when the decision
/// failed. So two requests never take the same last room.
package struct AdmissionGrant: ~Copyable, Sendable {
    private let controller: AdmissionController?
    private let tokens: Int

    /// - Parameter controller: nil when nothing is counted.
    init(_ controller: AdmissionController?, tokens: Int) {
        self.controller = controller
        self.tokens = tokens
    }

    deinit {
        controller?.settle(tokens: tokens)
    }

    /// The load is reserved, or never will be.
    package consuming func release() {}
}

/// Wakes the controller when a request has waited for too long.
package protocol AdmissionAlarm: Sendable {
    /// Calls `ring` once at `time` or later, on any thread, but not from within this call. A later call takes the place of an earlier one; a
    /// `time` of nil calls it off.
    func set(_ time: MonotonicTime?, _ ring: @escaping @Sendable () -> Void)
}
