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

    private struct State {
        var members: Members
        /// Of what was published last, the members of which more was recorded since.
        var latest = Snapshot.empty
        var unpublished: [Member] = []
        var sourceHasAnswered = false
        /// Called when it has.
        var syncWaiters: [@Sendable () -> Void] = []
    }

    /// An endpoint is fresh while its latest good page is younger than this.
    package let stalenessThreshold: Duration
    private let state: Lock<State>
    private let published = Lock(Snapshot.empty)
    let lingering = Lingering()
    private let watch: PoolWatch

    /// - Parameter clock: what reservations are timed by.
    package init(stalenessThreshold: Duration, clock: @escaping @Sendable () -> MonotonicTime = { .now() }) {
        self.stalenessThreshold = stalenessThreshold
        watch = PoolWatch()
        state = Lock(State(members: Members(watch: watch, clock: clock)))
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
            state.members.replace(with: descriptions)
            publish(&state)
            defer { state.syncWaiters = [] }
            return state.syncWaiters
        }
        lingering.release(seenIn: snapshot)
        watch.snapshotPublished()
        for waiter in waiters { waiter() }
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
        change(endpoint) { member in
            let sent = mark.reservation > member.mark ? mark.reservation - member.mark : 0
            update.apply(to: &member.metrics, sent: Int(clamping: sent))
            member.scrape.updatedAt = mark.startedAt
            member.scrape.failures = 0
            member.scrape.error = nil
            // A page asked for before the gateway's complaint says nothing about it.
            if member.scrape.suspectedAt.map({ $0 < mark.startedAt }) ?? true {
                member.scrape.reachable = true
                member.scrape.suspectedAt = nil
            }
            member.mark = mark.reservation
            member.hasUnpublishedMark = true
        }
    }

    package func scrapeFailed(_ endpoint: Endpoint, _ failure: ScrapeFailure) {
        change(endpoint) { member in
            member.scrape.failures += 1
            switch failure {
            case .unreachable(let message):
                member.scrape.reachable = false
                member.scrape.error = message
            case .other(let message):
                member.scrape.error = message
            }
        }
    }

    /// A gateway could not connect: others are preferred until a later page proves the endpoint alive. Seen at once.
    package func suspect(_ endpoint: Endpoint, at now: MonotonicTime) {
        change(endpoint) { member in
            member.scrape.reachable = false
            member.scrape.suspectedAt = now
        }
        publish()
    }

    /// Makes what was recorded visible. A snapshot costs time by the endpoints that have changed, and some more by all that there are, so
    /// call it once for a batch of pages.
    package func publish() {
        let isNew = state.withLock { state in
            if state.unpublished.isEmpty { return false }
            publish(&state)
            return true
        }
        if isNew { watch.snapshotPublished() }
        lingering.release(seenIn: snapshot)
    }

    private func publish(_ state: inout State) {
        let membership = state.members.version
        let changed = state.unpublished
        state.unpublished = []
        let snapshot =
            state.latest.membership == membership
            ? state.latest.updated(with: changed) : Snapshot(state.members.list, membership: membership)
        state.latest = snapshot
        published.withLock { $0 = snapshot }
        for member in changed {
            member.isUnpublished = false
            guard member.hasUnpublishedMark else { continue }
            member.hasUnpublishedMark = false
            guard state.members[number: member.endpoint.number] === member else { continue }
            // After the swap: for a moment a request may count twice, but never not at all.
            member.endpoint.load.seen(upTo: member.mark)
        }
    }

    /// Changes what is known of an endpoint, if it is still a member.
    private func change(_ endpoint: Endpoint, _ change: (Member) -> Void) {
        state.withLock { state in
            guard let member = state.members[number: endpoint.number] else { return }
            change(member)
            guard !member.isUnpublished else { return }
            member.isUnpublished = true
            state.unpublished.append(member)
        }
    }

    // MARK: Decisions

    /// The endpoints a request may go to, all of the subset; which of them to prefer is theirs to say.
    package func candidates(in subset: SubsetHint? = nil, at now: MonotonicTime) -> Candidates {
        Candidates(snapshot: snapshot, in: subset, at: now, staleAfter: stalenessThreshold)
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
