package import Bytes

/// The endpoints that a request may go to, with the load that counts for it.
///
/// The effective load is the scraped value plus what Apus has sent there since that page was asked for. With nothing in flight it is the
/// scraped value exactly.
package struct Candidates: Sendable {
    /// Endpoints of a higher one go first, whatever their scores.
    package enum Preference: UInt8, Sendable, Comparable, CaseIterable {
        /// It did not answer.
        case unreachable
        /// Its metrics are too old to count on.
        case stale
        case fresh

        package static func < (left: Preference, right: Preference) -> Bool { left.rawValue < right.rawValue }
    }

    package struct Candidate: Sendable {
        /// The endpoint's index in the snapshot.
        package let index: Int
        /// Effective waiting and running requests.
        package let waiting: Float
        package let running: Float
        /// Requests that wait, as far as can be told: those of the page, and of what was sent since what the engine is not taken to run
        /// at once.
        package let queued: Float
        /// Requests on the page that Apus did not send, as far as can be told.
        package let foreign: Float
        /// Effective share of the KV cache in use, 0...1.
        package let kvCacheUsage: Float
        /// What Apus has in flight there in all.
        package let inFlightRequests: Int
        package let inFlightTokens: Int
        /// Those of the tokens that are taken to be computed by now, as far as the time since they were sent tells.
        package let doneTokens: Float
        /// How far what is known of it can be trusted.
        package let preference: Preference
        /// The endpoint's latest reservation when the load was read.
        let latestReservation: UInt64
    }

    package let snapshot: Snapshot
    package let list: [Candidate]

    package init(snapshot: Snapshot, indexes: some Sequence<Int>) {
        self.snapshot = snapshot
        list = indexes.map { Self.candidate(at: $0, of: snapshot) }
    }

    /// Those of the subset.
    init(snapshot: Snapshot, in subset: SubsetHint?, at now: MonotonicTime, staleAfter threshold: Duration) {
        self.snapshot = snapshot
        let nanoseconds = threshold.nanoseconds
        var list: [Candidate] = []
        list.reserveCapacity(snapshot.count)
        for index in 0..<snapshot.count {
            if let subset, !subset.contains(snapshot.endpoints[index]) { continue }
            let preference = snapshot.scrapes.pieces[index].preference(at: now, staleAfter: nanoseconds)
            list.append(Self.candidate(at: index, of: snapshot, preference, at: now))
        }
        self.list = list
    }

    private init(snapshot: Snapshot, list: [Candidate]) {
        self.snapshot = snapshot
        self.list = list
    }

    package var count: Int { list.count }
    package var isEmpty: Bool { list.isEmpty }

    package func endpoint(_ position: Int) -> Endpoint {
        snapshot.endpoints[list[position].index]
    }

    package func metrics(_ position: Int) -> EndpointMetrics {
        snapshot.metrics[list[position].index]
    }

    /// Those of at least this preference, in the same order.
    package func preferred(atLeast preference: Preference) -> Candidates {
        list.allSatisfy { $0.preference >= preference } ? self : filtered { list[$0].preference >= preference }
    }

    /// Those of the highest preference that there is.
    package var preferred: Candidates {
        var highest = Preference.unreachable
        for candidate in list where candidate.preference > highest { highest = candidate.preference }
        return preferred(atLeast: highest)
    }

    /// The candidates for whose positions `keep` is true, in the same order.
    package func filtered(_ keep: (Int) -> Bool) -> Candidates {
        Candidates(snapshot: snapshot, list: list.indices.filter(keep).map { list[$0] })
    }

    /// The endpoint at `index` of the snapshot, with its load as it is now.
    ///
    /// - Parameter now: nil when nobody asks for `doneTokens`.
    package static func candidate(
        at index: Int,
        of snapshot: Snapshot,
        _ preference: Preference = .fresh,
        at now: MonotonicTime? = nil
    ) -> Candidate {
        let load = snapshot.endpoints[index].load.reading(forPageUpTo: snapshot.marks[index], at: now)
        return snapshot.metrics.pieces[index].candidate(at: index, load, preference)
    }
}

// Methods, for which the structs are borrowed: copies of them would retain their arrays, for every endpoint of every decision.

extension ScrapeStatus {
    fileprivate func preference(at now: MonotonicTime, staleAfter nanoseconds: Int64) -> Candidates.Preference {
        reachable ? isFresh(at: now, nanoseconds: nanoseconds) ? .fresh : .stale : .unreachable
    }
}

extension EndpointMetrics {
    fileprivate func candidate(
        at index: Int,
        _ load: EndpointLoad.Reading,
        _ preference: Candidates.Preference
    ) -> Candidates.Candidate {
        let capacity = cacheBlockSize * cacheBlockCount
        let unseenUsage = capacity > 0 ? Double(load.unseenTokens) / Double(capacity) : 0
        let foreign = waitingQueueSize + runningRequests - (load.requests - load.unseenRequests) - load.endedRequests
        return Candidates.Candidate(
            index: index,
            waiting: Float(waitingQueueSize + load.unseenRequests),
            running: Float(runningRequests + load.unseenRequests),
            queued: Float(
                freePlaces.queued(
                    waiting: waitingQueueSize,
                    sent: load.unseenRequests,
                    ended: load.endedRequests
                )
            ),
            foreign: Float(max(0, foreign)),
            kvCacheUsage: Float(min(1, kvCacheUsage + unseenUsage)),
            inFlightRequests: load.requests,
            inFlightTokens: load.tokens,
            doneTokens: Float(load.doneTokens),
            preference: preference,
            latestReservation: load.latest
        )
    }
}

/// The endpoints to which a gateway limits a request (`x-gateway-destination-endpoint-subset`).
package struct SubsetHint: Sendable, Equatable {
    private let entries: Set<String>

    /// - Parameter entries: `ip:port` or a bare `ip`, IPv6 with or without brackets; white space around them is dropped.
    package init(_ entries: some Sequence<String>) {
        self.entries = Set(entries.map { String(ASCII.trimmed($0[...])) })
    }

    package func contains(_ endpoint: Endpoint) -> Bool {
        entries.contains(endpoint.hostPort) || entries.contains(endpoint.address)
            || (endpoint.address.utf8.contains(UInt8(ascii: ":")) && entries.contains("[\(endpoint.address)]"))
    }
}
