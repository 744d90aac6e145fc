package import Bytes

/// What a prefill engine keeps for decodes that are still to come: blocks under a lease, each redeemed at most once.
///
/// After vLLM's NIXL connector: the lease runs from the prefill's end, a claim by a queued decode is kept alive by heartbeats, and the blocks
/// go when the decode has read them, when it gives up, or when the lease ends. Pure: time is what the caller passes in.
package struct KVLedger: Sendable {
    private struct Lease: Sendable {
        let blocks: EngineRequestID
        let tokens: Int
        var ends: MonotonicTime
        var isClaimed = false
    }

    /// What became of a lease that is no more.
    package enum End: String, Sendable {
        case redeemed
        case expired
        /// Its decode gave it up, or its engine was told to.
        case abandoned
    }

    /// The answer to a decode that wants what a prefill has left.
    package enum Claim: Sendable, Equatable {
        /// Pinned for this decode until `finish`, or until the lease ends without a heartbeat.
        case granted(tokens: Int)
        /// The parameters name another engine: this one was restarted, or they were sent to the wrong address.
        case otherEngine
        case unknown
        /// Another decode has claimed it and has not finished.
        case taken
        case ended(End)
    }

    /// How many ended leases are remembered.
    private static let remembered = 4096

    /// Changes with every start of the engine.
    package let engineID: String
    private var leases: [String: Lease] = [:]
    private var ended: [String: End] = [:]
    private var order: [String] = []
    /// No lease ends before this; it may be earlier than the first that does.
    private var earliest: MonotonicTime?

    package init(engineID: String) {
        self.engineID = engineID
    }

    package var count: Int { leases.count }

    /// When `expire` has something to do next, or earlier.
    package var nextExpiry: MonotonicTime? { leases.isEmpty ? nil : earliest }

    /// Keeps the blocks of a prefill that has ended.
    package mutating func pin(_ key: String, _ blocks: EngineRequestID, tokens: Int, until time: MonotonicTime) {
        leases[key] = Lease(blocks: blocks, tokens: tokens, ends: time)
        earliest = min(earliest ?? time, time)
    }

    /// A decode asks for the blocks. Each lease is granted to one decode only.
    package mutating func claim(_ key: String, engineID: String?, until time: MonotonicTime) -> Claim {
        if let engineID, engineID != self.engineID { return .otherEngine }
        guard var lease = leases[key] else { return ended[key].map { .ended($0) } ?? .unknown }
        guard !lease.isClaimed else { return .taken }
        lease.isClaimed = true
        lease.ends = max(lease.ends, time)
        leases[key] = lease
        return .granted(tokens: lease.tokens)
    }

    /// A decode that still waits says so.
    ///
    /// - Returns: whether the blocks are still there.
    package mutating func extend(_ key: String, until time: MonotonicTime) -> Bool {
        guard let ends = leases[key]?.ends else { return false }
        leases[key]?.ends = max(ends, time)
        return true
    }

    /// Ends a lease.
    ///
    /// - Returns: whose blocks are free now; nil when there is no such lease.
    package mutating func finish(_ key: String, _ end: End) -> EngineRequestID? {
        guard let lease = leases.removeValue(forKey: key) else { return nil }
        remember(key, end)
        return lease.blocks
    }

    /// Ends the leases whose time has come.
    package mutating func expire(at time: MonotonicTime) -> [(key: String, blocks: EngineRequestID)] {
        guard let next = nextExpiry, next <= time else { return [] }
        let due = leases.filter { $0.value.ends <= time }.sorted { $0.value.ends < $1.value.ends }
        for (key, _) in due {
            leases[key] = nil
            remember(key, .expired)
        }
        earliest = leases.values.map(\.ends).min()
        return due.map { ($0.key, $0.value.blocks) }
    }

    private mutating func remember(_ key: String, _ end: End) {
        if ended.updateValue(end, forKey: key) == nil { order.append(key) }
        if order.count > Self.remembered { ended[order.removeFirst()] = nil }
    }
}
