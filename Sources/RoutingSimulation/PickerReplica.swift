internal import Admission
internal import Bytes
internal import EndpointPicker
internal import Pool
internal import Scheduling

/// One picker, with all that it knows: a pool of its own, a prefix index, and what it has in flight.
final class PickerReplica {
    private let policy: RoutingPolicy
    private let servers: [ServerDescription]
    private let descriptions: [EndpointDescription]
    private let pool: Pool
    private let index = PrefixIndex(salt: 0x5EED)
    private let scheduler: Scheduler?
    private let reserves: Bool
    private let clock = VirtualClock()
    private let admission: AdmissionController?
    private var generator: SeededGenerator
    private var turns: [ServerDescription.Role: Int] = [:]
    /// The load of requests under way, by their numbers.
    private var held: [Int: Held] = [:]
    let readsPages: Bool
    /// How often in a row each server was seen with nothing to do and nothing new from here.
    private var idlePages: [Int]
    /// The servers whose pages may tell something new, in order, and whether each is among them.
    private var watched: [Int] = []
    private var isWatched: [Bool]
    /// By server; nil of one that is not listed.
    private var endpoints: [Endpoint?] = []

    private static let firstPort = 8_000

    init(_ policy: RoutingPolicy, servers: [ServerDescription], seed: UInt64) {
        self.policy = policy
        self.servers = servers
        generator = SeededGenerator(seed: seed)
        _ = generator.next()
        idlePages = Array(repeating: 0, count: servers.count)
        isWatched = Array(repeating: false, count: servers.count)
        // Pages of those with nothing to do need not come; a server that does not answer is known as one that refuses.
        pool = Pool(stalenessThreshold: .seconds(1_000_000), clock: { [clock] in clock.now })
        descriptions = servers.enumerated().map { number, server in
            EndpointDescription(
                name: "server-\(number)",
                namespace: "simulated",
                address: "10.0.0.1",
                port: Self.firstPort + number,
                labels: server.role == .both ? [:] : [RoleFilter.label: server.role.rawValue]
            )
        }
        pool.replaceEndpoints(descriptions)
        if case .scheduler(let make, let makeDisaggregated, let reserves) = policy.kind {
            let hasRoles = servers.contains { $0.role != .both }
            let setup = (hasRoles ? makeDisaggregated : make)(index)
            scheduler = setup.scheduler
            self.reserves = reserves
            admission = AdmissionController(
                pool: pool,
                settings: setup.admission,
                alarm: NoAlarm(),
                clock: { [clock] in clock.now }
            )
            readsPages = true
        } else {
            scheduler = nil
            admission = nil
            reserves = true
            readsPages = false
        }
        findEndpoints()
        for server in servers.indices { watch(server) }
    }

    // MARK: Decisions

    /// Where a request goes; nil when nobody can serve it.
    func place(_ request: SimulatedRequest, _ fleet: FleetView) -> Placement? {
        clock.set(fleet.now)
        if let scheduler { return decide(request, scheduler) }
        let both = fleet.members(.both)
        guard both.isEmpty else {
            return choose(request, .both, among: both, fleet).map { Placement(server: $0) }
        }
        guard let prefill = choose(request, .prefill, among: fleet.members(.prefill), fleet),
            let decode = choose(request, .decode, among: fleet.members(.decode), fleet)
        else { return nil }
        return Placement(server: decode, prefill: prefill)
    }

    /// What a load balancer does that knows nothing of caches.
    private func choose(
        _ request: SimulatedRequest,
        _ role: ServerDescription.Role,
        among members: [Int],
        _ fleet: FleetView
    ) -> Int? {
        let chosen: Int?
        switch policy.kind {
        case .random:
            chosen = members.randomElement(using: &generator)
        case .roundRobin:
            let turn = turns[role, default: 0]
            turns[role] = turn + 1
            chosen = members.isEmpty ? nil : members[turn % members.count]
        case .leastRequest(let ofTwo):
            let compared = ofTwo ? Array(members.shuffled(using: &generator).prefix(2)) : members
            chosen = fewestInFlight(compared)
        case .oracle, .scheduler:
            chosen =
                role == .decode
                ? Oracle.pickDecode(request, among: members, fleet) : Oracle.pick(request, among: members, fleet)
        }
        if let chosen { reserve(request, chosen, isPrefill: role == .prefill) }
        return chosen
    }

    private func fewestInFlight(_ members: [Int]) -> Int? {
        let snapshot = pool.snapshot
        var best: [Int] = []
        var fewest = Int.max
        for index in 0..<snapshot.count {
            let server = snapshot.endpoints[index].port - Self.firstPort
            guard members.contains(server) else { continue }
            let count = snapshot.endpoints[index].load.reading.requests
            if count < fewest { best = [] }
            fewest = min(fewest, count)
            if count == fewest { best.append(server) }
        }
        return best.randomElement(using: &generator)
    }

    private func reserve(_ request: SimulatedRequest, _ server: Int, isPrefill: Bool) {
        guard let endpoint = endpoint(of: server) else { return }
        let held = self.held[request.number] ?? Held()
        held.set(pool.reserve(endpoint, tokens: request.promptTokens), isPrefill: isPrefill)
        self.held[request.number] = held
    }

    /// The director's steps: admission, candidates, decision, reservation, memory of the prompt.
    private func decide(_ request: SimulatedRequest, _ scheduler: Scheduler) -> Placement? {
        let now = clock.now
        let candidates = pool.candidates(at: now)
        if let admission {
            let inquiry = AdmissionRequest(tokens: request.promptTokens, receivedAt: now)
            guard case .admitted(let grant) = admission.admit(inquiry, candidates: { candidates }) else { return nil }
            grant.release()
        }
        var inquiry = SchedulingRequest(
            model: request.model,
            targetModel: request.model,
            estimatedTokens: request.promptTokens
        )
        inquiry.now = now
        inquiry.maxOutputTokens = request.outputTokens
        if let cache = scheduler.prefixCache {
            let size = cache.settings.blockTokens(in: candidates.snapshot)
            let hashes = request.promptBlocks(of: size, limit: cache.settings.maximumBlocks(blockTokens: size))
            inquiry.prefix = PromptBlocks(hashes: hashes, blockTokens: size)
        }
        guard let result = try? scheduler.schedule(inquiry, candidates, using: &generator) else { return nil }
        if reserves {
            let load = scheduler.policies.inFlightLoad
            let held = Held()
            let prompt = InFlightLoad.uncachedTokens(inquiry, result.prefixMatches, at: result.primary.index)
            held.primary = pool.reserve(result.endpoint, tokens: prompt + load.outputTokens(inquiry))
            held.tokensEndWithFirstByte = !load.addEstimatedOutputTokens
            if let prefill = result.prefill {
                let tokens = InFlightLoad.uncachedTokens(inquiry, result.prefixMatches, at: prefill.index)
                held.prefill = pool.reserve(prefill.endpoint, tokens: tokens)
            }
            self.held[request.number] = held
        }
        expectNews(of: result.endpoint.port - Self.firstPort)
        if let prefill = result.prefill { expectNews(of: prefill.endpoint.port - Self.firstPort) }
        scheduler.record(inquiry, result)
        return Placement(
            server: result.endpoint.port - Self.firstPort,
            prefill: result.prefill.map { $0.endpoint.port - Self.firstPort }
        )
    }

    private func expectNews(of server: Int) {
        idlePages[server] = 0
        watch(server)
    }

    // MARK: What becomes of requests

    /// The server of its own that computes a prompt has answered.
    func prefilled(_ request: SimulatedRequest, at time: Double) {
        clock.set(time)
        guard let held = held[request.number] else { return }
        held.prefill?.releaseTokens()
        held.prefill = nil
    }

    func firstToken(_ request: SimulatedRequest, at time: Double) {
        clock.set(time)
        guard let held = held[request.number] else { return }
        if held.tokensEndWithFirstByte { held.primary?.releaseTokens() }
    }

    func ended(_ request: SimulatedRequest, at time: Double) {
        clock.set(time)
        held[request.number] = nil
    }

    /// The gateway found the server gone and chose another one.
    func moved(_ request: SimulatedRequest, from server: Int, to other: Int, isPrefill: Bool, at time: Double) {
        clock.set(time)
        // The reference does not learn of it.
        guard reserves else { return }
        expectNews(of: server)
        expectNews(of: other)
        if let endpoint = endpoint(of: server) { pool.suspect(endpoint, at: clock.now) }
        reserve(request, other, isPrefill: isPrefill)
    }

    // MARK: What the picker knows

    func list(_ isListed: [Bool]) {
        pool.replaceEndpoints(descriptions.indices.filter { isListed[$0] }.map { descriptions[$0] })
        findEndpoints()
        for server in idlePages.indices {
            idlePages[server] = 0
            watch(server)
        }
        index.prune(keeping: pool.snapshot)
    }

    private func findEndpoints() {
        endpoints = Array(repeating: nil, count: servers.count)
        for endpoint in pool.snapshot.endpoints { endpoints[endpoint.port - Self.firstPort] = endpoint }
    }

    /// The server has got something to do, or has gone: its pages are asked for until they tell nothing new.
    func watch(_ server: Int) {
        guard readsPages, !isWatched[server] else { return }
        isWatched[server] = true
        watched.insert(server, at: watched.firstIndex { $0 > server } ?? watched.count)
    }

    /// Asks every endpoint for its page that may tell something new; it comes later.
    func ask(_ engines: [ServingEngine], isDown: [Bool], at time: Double) -> [ScrapedPage] {
        clock.set(time)
        let now = clock.now
        var pages: [ScrapedPage] = []
        watched.removeAll { server in
            let isIdle = engines[server].isIdle && !isDown[server]
            idlePages[server] = isIdle ? idlePages[server] + 1 : 0
            // The first tells what has ended, the second that nothing follows, the third nothing.
            isWatched[server] = idlePages[server] <= 2
            guard isWatched[server], let endpoint = endpoints[server] else { return !isWatched[server] }
            pages.append(
                ScrapedPage(
                    endpoint: endpoint,
                    mark: pool.scrapeStarted(endpoint, at: now),
                    page: isDown[server] ? nil : engines[server].page(at: time)
                )
            )
            return false
        }
        return pages
    }

    func received(_ pages: [ScrapedPage], isDown: [Bool], at time: Double) {
        clock.set(time)
        for scraped in pages {
            guard let page = scraped.page else {
                pool.scrapeFailed(scraped.endpoint, .unreachable("refused"))
                continue
            }
            let costs = servers[scraped.endpoint.port - Self.firstPort].costs
            var update = MetricsUpdate()
            update.waitingQueueSize = page.waiting
            update.runningRequests = page.running
            update.kvCacheUsage = page.usage
            update.cacheBlockSize = costs.blockTokens
            update.cacheBlockCount = costs.blocks
            update.adapters = MetricsUpdate.Adapters(
                active: page.adapters,
                waiting: page.waitingAdapters,
                maximum: costs.adapterSlots
            )
            pool.scrapeSucceeded(scraped.endpoint, scraped.mark, update)
        }
        pool.publish()
    }

    private func endpoint(of server: Int) -> Endpoint? {
        endpoints[server]
    }
}

/// A page on its way.
struct ScrapedPage {
    let endpoint: Endpoint
    let mark: Pool.ScrapeMark
    /// Nil when nobody answered.
    let page: ServingEngine.Page?
}

/// The load of one request.
private final class Held {
    var primary: Reservation?
    var prefill: Reservation?
    var tokensEndWithFirstByte = true

    func set(_ reservation: consuming Reservation, isPrefill: Bool) {
        if isPrefill { prefill = consume reservation } else { primary = consume reservation }
    }
}

/// The simulation's time, for those who ask.
private final class VirtualClock: Sendable {
    private let time = Lock(MonotonicTime(nanoseconds: 0))

    var now: MonotonicTime { time.withLock { $0 } }

    func set(_ seconds: Double) {
        // A second is added, so that nothing lies before the beginning of time.
        let now = MonotonicTime(nanoseconds: UInt64((seconds + 1) * 1e9))
        time.withLock { $0 = now }
    }
}

/// Without flow control nobody waits.
private struct NoAlarm: AdmissionAlarm {
    func set(_ time: MonotonicTime?, _ ring: @escaping @Sendable () -> Void) {}
}
