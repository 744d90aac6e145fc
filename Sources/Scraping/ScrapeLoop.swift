internal import Bytes
internal import Pool
internal import SubRequests

/// The state of a scraper.
///
/// Thread rule: every method runs on the client's thread and nowhere else.
final class ScrapeLoop: @unchecked Sendable {
    /// Scrapes start in so many steps of the interval: one wake-up serves all whose turn is in one step.
    private static let stepCount: Int64 = 20
    private static let shortestStep: Int64 = 2_500_000
    /// A request is on its way to the engine for some time after its reservation. A page counts as knowing only the reservations that are older than
    /// this when the page is asked for; younger ones count twice until the next page, which spreads load better than to count them not at all.
    private static let travelTime: Int64 = 5_000_000
    /// How long steps without anything to do are passed over at most: new endpoints are found by looking.
    private static let longestSleep: Int64 = 10_000_000

    private let publishing: SnapshotPublishing
    private let pool: Pool
    private let share: ScrapeShare
    private let client: HTTPClient
    private let settings: ScrapeSettings
    private let dialects: EngineDialects
    private let onEvent: @Sendable (ScrapeEvent) -> Void
    private let step: Duration
    /// How many steps before its turn a target's mark is set.
    private let lead: Int

    private var generator: SeededGenerator
    private var targets: [Int: ScrapeTarget] = [:]
    /// The targets by the step of the interval in which their turn is.
    private var phases: [[ScrapeTarget]]
    private var membership: UInt64?
    private var isRunning = false
    /// Distinguishes the ticks of this run from one left over from before a stop.
    private var run = 0
    private var tickCount = 0
    private var startedAt = MonotonicTime(nanoseconds: 0)

    init(
        _ publishing: SnapshotPublishing,
        client: HTTPClient,
        share: ScrapeShare,
        settings: ScrapeSettings,
        dialects: EngineDialects,
        onEvent: @escaping @Sendable (ScrapeEvent) -> Void
    ) {
        self.publishing = publishing
        pool = publishing.pool
        self.share = share
        self.client = client
        self.settings = settings
        self.dialects = dialects
        self.onEvent = onEvent
        generator = SeededGenerator(seed: settings.seed &+ UInt64(share.index))
        let interval = max(settings.interval.nanoseconds, 1_000_000)
        let steps = max(1, min(Self.stepCount, interval / Self.shortestStep))
        step = .nanoseconds(interval / steps)
        lead = Int((Self.travelTime * steps + interval - 1) / interval)
        phases = Array(repeating: [], count: Int(steps))
    }

    func start() {
        guard !isRunning else { return }
        isRunning = true
        run += 1
        tickCount = 0
        startedAt = .now()
        tick(run)
    }

    func stop() {
        isRunning = false
        membership = nil
        for target in targets.values { target.leave() }
        targets.removeAll()
        for index in phases.indices { phases[index].removeAll() }
    }

    // MARK: Ticks

    private func tick(_ run: Int) {
        guard isRunning, run == self.run else { return }
        let now = MonotonicTime.now()
        followMembership(now)
        // After a pause of the thread every phase that was missed gets one turn.
        let due = Int(now.elapsed(since: startedAt).nanoseconds / step.nanoseconds)
        let first = max(tickCount, due - phases.count + 1)
        for index in first...max(first, due) {
            for target in phases[index % phases.count] { scrape(target, now) }
            for target in phases[(index + lead) % phases.count] {
                target.nextMark = pool.scrapeStarted(target.endpoint, at: now)
            }
        }
        tickCount = max(first, due) + 1
        let latest = tickCount + Int(Self.longestSleep / step.nanoseconds) - 1
        while tickCount < latest, isIdle(tickCount) { tickCount += 1 }
        client.schedule(at: startedAt + .nanoseconds(step.nanoseconds * Int64(tickCount))) { [weak self] in
            self?.tick(run)
        }
    }

    /// Whether a step has nobody's turn and nobody's mark.
    private func isIdle(_ index: Int) -> Bool {
        phases[index % phases.count].isEmpty && phases[(index + lead) % phases.count].isEmpty
    }

    private func followMembership(_ now: MonotonicTime) {
        let snapshot = pool.snapshot
        guard snapshot.membership != membership else { return }
        membership = snapshot.membership
        var remaining = targets
        for endpoint in snapshot.endpoints where share.holds(endpoint) {
            if let target = remaining.removeValue(forKey: endpoint.number) {
                if target.endpoint !== endpoint {
                    target.describe(endpoint, page: dialects.page(forLabels: endpoint.labels))
                }
            } else {
                // At once, however long the interval: until its first page nothing is known of it.
                scrape(add(endpoint), now)
            }
        }
        guard !remaining.isEmpty else { return }
        for (number, target) in remaining {
            target.leave()
            targets[number] = nil
        }
        for index in phases.indices { phases[index].removeAll { $0.hasLeft } }
    }

    private func add(_ endpoint: Endpoint) -> ScrapeTarget {
        let request = HTTPRequest(
            url: "\(settings.trust == nil ? "http" : "https")://\(endpoint.hostPort)\(settings.path)",
            headers: [HTTPField("Accept", "text/plain")],
            connectTimeout: settings.timeout,
            timeout: settings.timeout,
            maxResponseBytes: settings.maxPageBytes,
            wantsHeaders: false,
            trust: settings.trust
        )
        let target = ScrapeTarget(endpoint, request: request, page: dialects.page(forLabels: endpoint.labels))
        target.onCompletion = { [weak self, weak target] result, body in
            guard let target else { return }
            self?.finish(target, result, body)
        }
        targets[endpoint.number] = target
        phases[Int.random(in: phases.indices, using: &generator)].append(target)
        return target
    }

    private func scrape(_ target: ScrapeTarget, _ now: MonotonicTime) {
        guard target.isDue, let onCompletion = target.onCompletion else { return }
        let mark = target.nextMark ?? pool.scrapeStarted(target.endpoint, at: now)
        target.begin(mark, client.start(target.request, onCompletion: onCompletion))
    }

    // MARK: Results

    private func finish(_ target: ScrapeTarget, _ result: Result<HTTPResponseHead, HTTPClientError>, _ body: RawSpan) {
        guard !target.hasLeft, let mark = target.end() else { return }
        let endpoint = target.endpoint
        var failure: Pool.ScrapeFailure?
        var hasPage = false
        switch result {
        case .success(let head) where head.status == 200:
            let update = target.page.read(body)
            if update.isEmpty {
                failure = .other("no known metric on the page")
                hasPage = true
            } else {
                pool.scrapeSucceeded(endpoint, mark, update)
                onEvent(.succeeded(endpoint, seconds: head.seconds, isTransition: target.succeeded()))
            }
        case .success(let head):
            failure = .other("HTTP status \(head.status)")
        case .failure(let error):
            failure = error.isConnectFailure ? .unreachable(error.description) : .other(error.description)
        }
        if let failure {
            pool.scrapeFailed(endpoint, failure)
            let isTransition = target.failed(failure, longestPause: longestPause)
            onEvent(
                .failed(endpoint, message: failure.message, hasPage: hasPage, isTransition: isTransition)
            )
        }
        schedulePublish()
    }

    /// How many turns a refusing endpoint may miss.
    private var longestPause: Int {
        Int(max(0, settings.longestInterval.nanoseconds / max(1, settings.interval.nanoseconds) - 1))
    }

    private func schedulePublish() {
        guard let time = publishing.claim() else { return }
        client.schedule(at: time) { [publishing] in publishing.publish() }
    }
}

extension Pool.ScrapeFailure {
    fileprivate var message: String {
        switch self {
        case .unreachable(let message), .other(let message): message
        }
    }
}
