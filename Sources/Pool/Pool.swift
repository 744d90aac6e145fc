package import Bytes

/// The model servers Apus knows, what it knows of them, and what it has sent them.
///
/// Decisions read an immutable `Snapshot`. Discovery replaces the members, scraping records pages and publishes them in batches, and every
/// decision reserves its load at once, so that the next one sees it.
package final class Pool: Sendable {
    /// How many reservations a scrape's page can know of.
    package struct ScrapeMark: Sendable {
        let reservation: UInt64
        package let startedAt: MonotonicTime
    }

    package enum ScrapeFailure: Sendable, Equatable {
        /// Nobody listens there: refused, no route.
        case unreachable(String)
        /// A timeout, a bad status, an unreadable page.
        case other(String)
    }

    private struct Record {
        var endpoint: Endpoint
        var metrics = EndpointMetrics()
        var scrape = ScrapeStatus()
        /// The last reservation that the newest page can know, and whether that page waits to be published.
        var mark: UInt64 = 0
        var hasUnpublishedMark = false
    }

    private struct State {
        /// In the order in which the source names them.
        var records: [Record] = []
        var position: [Int: Int] = [:]
        var membership: UInt64 = 0
        var nextNumber = 0
        /// Endpoints that left while requests were in flight there: should they come back meanwhile, that load is still theirs.
        var departed: [EndpointDescription: Endpoint] = [:]
        var hasUnpublished = false
        var sourceHasAnswered = false
        /// Called when it has.
        var syncWaiters: [@Sendable () -> Void] = []
    }

    /// An endpoint is fresh while its latest good page is younger than this.
    package let stalenessThreshold: Duration
    private let state = Lock(State())
    private let published = Lock(Snapshot.empty)
    let lingering = Lingering()
    private let watch = PoolWatch()
    private let clock: @Sendable () -> MonotonicTime

    /// - Parameter clock: what reservations are timed by.
    package init(stalenessThreshold: Duration, clock: @escaping @Sendable () -> MonotonicTime = { .now() }) {
        self.stalenessThreshold = stalenessThreshold
        self.clock = clock
    }

    /// The newest snapshot.
    package var snapshot: Snapshot {
        published.withLock { $0 }
    }

    /// Tells `observer` from now on, and nobody else. The pool does not keep it alive.
    package func observe(_ observer: any PoolObserver) {
        watch.set(observer)
    }

    /// Whether the source of endpoints has spoken, were it to say that there are none.
    package var isSynced: Bool {
        state.withLock { $0.sourceHasAnswered }
    }

    /// Calls `action` once the pool is synced, on the thread that makes it so; at once when it is already.
    package func whenSynced(_ action: @escaping @Sendable () -> Void) {
        let isSynced = state.withLock { state in
            if !state.sourceHasAnswered { state.syncWaiters.append(action) }
            return state.sourceHasAnswered
        }
        if isSynced { action() }
    }

    // MARK: Members

    /// Makes these the endpoints of the pool. Those described as before keep their state; those whose labels alone changed keep their load
    /// and metrics; of two descriptions with one identity the last counts.
    package func replaceEndpoints(_ descriptions: [EndpointDescription]) {
        let waiters = state.withLock { state in
            state.sourceHasAnswered = true
            let known = Dictionary(
                state.records.map { ($0.endpoint.identity, $0) },
                uniquingKeysWith: { first, _ in first }
            )
            var order: [EndpointIdentity] = []
            var latest: [EndpointIdentity: EndpointDescription] = [:]
            for description in descriptions where latest.updateValue(description, forKey: description.identity) == nil {
                order.append(description.identity)
            }
            let records = order.compactMap { identity -> Record? in
                guard let description = latest[identity] else { return nil }
                return record(
                    for: description,
                    known: known[identity],
                    departed: state.departed.removeValue(forKey: description),
                    nextNumber: &state.nextNumber
                )
            }
            state.departed = state.departed.filter { $0.value.load.reading.requests > 0 }
            let stays = Set(records.map(\.endpoint.number))
            for record in state.records where !stays.contains(record.endpoint.number) {
                if record.endpoint.load.reading.requests > 0 {
                    state.departed[record.endpoint.description] = record.endpoint
                }
            }
            let isSame =
                records.count == state.records.count
                && zip(records, state.records).allSatisfy { $0.endpoint === $1.endpoint }
            if !isSame { state.membership += 1 }
            state.records = records
            state.position = Dictionary(
                uniqueKeysWithValues: records.enumerated().map { ($1.endpoint.number, $0) }
            )
            state.hasUnpublished = true
            publish(&state)
            defer { state.syncWaiters = [] }
            return state.syncWaiters
        }
        lingering.release(seenIn: snapshot)
        watch.snapshotPublished()
        for waiter in waiters { waiter() }
    }

    private func record(
        for description: EndpointDescription,
        known: Record?,
        departed: Endpoint?,
        nextNumber: inout Int
    ) -> Record {
        if var known, known.endpoint.address == description.address, known.endpoint.port == description.port {
            if known.endpoint.labels != description.labels {
                known.endpoint = Endpoint(
                    description,
                    number: known.endpoint.number,
                    load: known.endpoint.load,
                    breaker: known.endpoint.breaker,
                    watch: watch
                )
            }
            return known
        }
        if let departed { return Record(endpoint: departed) }
        defer { nextNumber += 1 }
        return Record(
            endpoint: Endpoint(description, number: nextNumber, load: EndpointLoad(clock: clock), watch: watch)
        )
    }

    // MARK: Scraping

    /// Call before the request for a page is sent.
    package func scrapeStarted(_ endpoint: Endpoint, at now: MonotonicTime) -> ScrapeMark {
        ScrapeMark(reservation: endpoint.load.reading.latest, startedAt: now)
    }

    /// Records a page; it is seen after the next `publish()`. A page without a value that Apus reads counts as a failure.
    package func scrapeSucceeded(_ endpoint: Endpoint, _ mark: ScrapeMark, _ update: MetricsUpdate) {
        guard !update.isEmpty else {
            return scrapeFailed(endpoint, .other("no known metric on the page"))
        }
        record(of: endpoint) { record in
            let sent = mark.reservation > record.mark ? mark.reservation - record.mark : 0
            update.apply(to: &record.metrics, sent: Int(clamping: sent))
            record.scrape.updatedAt = mark.startedAt
            record.scrape.failures = 0
            record.scrape.error = nil
            // A page asked for before the gateway's complaint says nothing about it.
            if record.scrape.suspectedAt.map({ $0 < mark.startedAt }) ?? true {
                record.scrape.reachable = true
                record.scrape.suspectedAt = nil
            }
            record.mark = mark.reservation
            record.hasUnpublishedMark = true
        }
    }

    package func scrapeFailed(_ endpoint: Endpoint, _ failure: ScrapeFailure) {
        record(of: endpoint) { record in
            record.scrape.failures += 1
            switch failure {
            case .unreachable(let message):
                record.scrape.reachable = false
                record.scrape.error = message
            case .other(let message):
                record.scrape.error = message
            }
        }
    }

    /// A gateway could not connect: others are preferred until a later page proves the endpoint alive. Seen at once.
    package func suspect(_ endpoint: Endpoint, at now: MonotonicTime) {
        record(of: endpoint) { record in
            record.scrape.reachable = false
            record.scrape.suspectedAt = now
        }
        publish()
    }

    /// Makes what was recorded visible. Building a snapshot costs time in proportion to the pool, so call it once for a batch of pages.
    package func publish() {
        if state.withLock({ publish(&$0) }) { watch.snapshotPublished() }
        lingering.release(seenIn: snapshot)
    }

    /// True when there was something to publish.
    @discardableResult
    private func publish(_ state: inout State) -> Bool {
        guard state.hasUnpublished else { return false }
        state.hasUnpublished = false
        let snapshot = Snapshot(
            endpoints: state.records.map(\.endpoint),
            metrics: state.records.map(\.metrics),
            scrapes: state.records.map(\.scrape),
            marks: state.records.map(\.mark),
            membership: state.membership
        )
        published.withLock { $0 = snapshot }
        // After the swap: for a moment a request may count twice, but never not at all.
        for index in state.records.indices where state.records[index].hasUnpublishedMark {
            state.records[index].hasUnpublishedMark = false
            state.records[index].endpoint.load.seen(upTo: state.records[index].mark)
        }
        return true
    }

    /// Changes the record of an endpoint that is still a member.
    private func record(of endpoint: Endpoint, _ change: (inout Record) -> Void) {
        state.withLock { state in
            guard let position = state.position[endpoint.number] else { return }
            change(&state.records[position])
            state.hasUnpublished = true
        }
    }

    // MARK: Decisions

    /// The endpoints a request may go to, all of the subset; which of them to prefer is theirs to say.
    package func candidates(in subset: SubsetHint? = nil, at now: MonotonicTime) -> Candidates {
        let snapshot = snapshot
        var eligible: [(index: Int, preference: Candidates.Preference)] = []
        eligible.reserveCapacity(snapshot.count)
        for index in 0..<snapshot.count {
            if let subset, !subset.contains(snapshot.endpoints[index]) { continue }
            let isFresh = snapshot.isFresh(index, at: now, threshold: stalenessThreshold)
            eligible.append((index, snapshot.scrapes[index].reachable ? isFresh ? .fresh : .stale : .unreachable))
        }
        return Candidates(snapshot: snapshot, eligible, at: now)
    }

    /// Reserves a request's load on the candidate at `position`, unless another request has been sent there since the candidates' load was
    /// read: then nil, and the decision should be made again.
    package func reserve(_ candidates: Candidates, _ position: Int, tokens: Int) -> Reservation? {
        let endpoint = candidates.endpoint(position)
        let tokens = Self.bounded(tokens)
        let expected = candidates.list[position].latestReservation
        guard let number = endpoint.load.add(tokens: tokens, ifLatestIs: expected) else { return nil }
        watch.loadChanged(of: endpoint)
        return Reservation(endpoint: endpoint, tokens: tokens, number: number)
    }

    /// Reserves a request's load whatever else was sent there.
    package func reserve(_ endpoint: Endpoint, tokens: Int) -> Reservation {
        let tokens = Self.bounded(tokens)
        let number = endpoint.load.add(tokens: tokens)
        watch.loadChanged(of: endpoint)
        return Reservation(endpoint: endpoint, tokens: tokens, number: number)
    }

    /// An estimate may come from a number that a client wrote: sums of what is reserved must fit an Int whatever it is.
    private static func bounded(_ tokens: Int) -> Int {
        min(max(0, tokens), 1 << 40)
    }
}
