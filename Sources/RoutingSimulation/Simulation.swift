private import Bytes

/// One run of a workload under one policy, in virtual time: the real pool, scheduler, prefix index and admission against modelled servers.
///
/// The same workload, policy and seed give the same results, on every machine.
package final class Simulation {
    package struct Settings: Sendable {
        /// Pickers behind a service that gives each its turn; each knows only what it has decided and scraped itself.
        package var replicas = 1
        package var scrapeInterval = 0.05
        /// From the question for a page to its being seen.
        package var scrapeDelay = 0.005
        /// Until a request that met a dead server is sent to another one.
        package var retryDelay = 0.001
        package var seed: UInt64 = 1

        package init() {}
    }

    private enum Occurrence {
        /// The run of a server's steps ends.
        case engine(Int)
        /// A request, or the second stage of one, reaches a server.
        case delivery(Flight, server: Int, ServingJob.Stage)
        case scrape(replica: Int)
        case pages(replica: Int, [ScrapedPage])
        case outage(Int, isStart: Bool)
        case notice(Int)
    }

    private let settings: Settings
    private var workload: any Workload
    private let servers: [ServerDescription]
    private var engines: [ServingEngine]
    private var isDown: [Bool]
    private var isListed: [Bool]
    private let replicas: [PickerReplica]
    private var generator: SeededGenerator
    private var events = EventQueue<Occurrence>()
    private var arrivals = EventQueue<SimulatedRequest>()
    private var flights: [Int: Flight] = [:]
    private var nextReplica = 0
    private var now = 0.0
    /// Of the workload itself, without what follows from requests.
    private var nextArrival: Double?
    private var results: RunResult

    package init(_ workload: any Workload, _ policy: RoutingPolicy, _ settings: Settings = Settings()) {
        self.workload = workload
        self.settings = settings
        servers = workload.servers
        engines = workload.servers.map { ServingEngine($0.costs) }
        for engine in engines { engine.measuresFrom = workload.warmUp }
        isDown = Array(repeating: false, count: workload.servers.count)
        isListed = Array(repeating: true, count: workload.servers.count)
        let servers = workload.servers
        replicas = (0..<max(1, settings.replicas)).map {
            PickerReplica(policy, servers: servers, seed: settings.seed &+ UInt64($0) &* 7_919)
        }
        generator = SeededGenerator(seed: settings.seed &* 0x9E37_79B9 &+ 17)
        results = RunResult(stages: workload.stages.count)
    }

    // MARK: Running

    package func run() -> RunResult {
        for (number, outage) in workload.outages.enumerated() {
            events.insert(.outage(number, isStart: true), at: outage.from)
            events.insert(.outage(number, isStart: false), at: outage.until)
            if outage.noticed < outage.until { events.insert(.notice(number), at: outage.noticed) }
        }
        takeNextArrival()
        for (index, replica) in replicas.enumerated() where replica.readsPages {
            // The replicas' scrapes are spread over the interval.
            let offset = settings.scrapeInterval * Double(index) / Double(replicas.count)
            events.insert(.scrape(replica: index), at: offset)
        }
        while true {
            if let arrival = arrivals.firstTime, arrival < events.firstTime ?? .infinity {
                guard let (time, request) = arrivals.removeFirst() else { break }
                now = time
                arrive(request)
            } else {
                guard let (time, occurrence) = events.removeFirst() else { break }
                now = time
                handle(occurrence)
            }
        }
        return finished()
    }

    private func handle(_ occurrence: Occurrence) {
        switch occurrence {
        case .engine(let server): advance(server)
        case .delivery(let flight, let server, let stage): deliver(flight, to: server, stage)
        case .scrape(let replica): scrape(replica)
        case .pages(let replica, let pages):
            replicas[replica].received(pages, isDown: isDown, at: now)
        case .outage(let number, let isStart): isStart ? die(number) : revive(number)
        case .notice(let number):
            isListed[workload.outages[number].server] = false
            for replica in replicas { replica.list(isListed) }
        }
    }

    private func takeNextArrival() {
        guard let request = workload.next() else { return nextArrival = nil }
        nextArrival = request.arrival
        arrivals.insert(request, at: request.arrival)
    }

    // MARK: Requests

    private func arrive(_ request: SimulatedRequest) {
        if request.arrival == nextArrival { takeNextArrival() }
        results.submitted += 1
        let replica = replicas[nextReplica]
        nextReplica = (nextReplica + 1) % replicas.count
        let fleet = FleetView(engines: engines, servers: servers, isDown: isDown, isListed: isListed, now: now)
        guard let placement = replica.place(request, fleet) else {
            results.failed += 1
            return
        }
        let flight = Flight(request: request, replica: replica, placement: placement)
        flights[request.number] = flight
        if let prefill = placement.prefill {
            deliver(flight, to: prefill, .prefill)
        } else {
            deliver(flight, to: placement.server, .whole)
        }
    }

    private func deliver(_ flight: Flight, to server: Int, _ stage: ServingJob.Stage) {
        guard !isDown[server] else { return retry(flight, insteadOf: server, stage) }
        engines[server].submit(ServingJob(flight.request, stage, submitted: now), at: now)
        for replica in replicas { replica.watch(server) }
        scheduleEngine(server)
    }

    /// The gateway sends a request elsewhere whose server is gone; the picker learns of it.
    private func retry(_ flight: Flight, insteadOf server: Int, _ stage: ServingJob.Stage) {
        flight.attempts += 1
        let role = servers[server].role
        let others = servers.indices.filter { $0 != server && servers[$0].role == role && isListed[$0] }
        guard flight.attempts <= 3, let other = others.randomElement(using: &generator) else {
            return end(flight, hasFailed: true)
        }
        results.retried += 1
        flight.replica.moved(flight.request, from: server, to: other, isPrefill: stage == .prefill, at: now)
        flight.placement.move(to: other, isPrefill: stage == .prefill)
        events.insert(.delivery(flight, server: other, stage), at: now + settings.retryDelay)
    }

    private func advance(_ server: Int) {
        // One that has been overtaken: the run was cut short, or the server died.
        guard engines[server].nextEvent == now else { return }
        for event in engines[server].advance() {
            switch event {
            case .firstToken(let job): firstToken(job)
            case .finished(let job): finished(job, at: server)
            }
        }
        scheduleEngine(server)
    }

    private func scheduleEngine(_ server: Int) {
        guard let time = engines[server].nextEvent else { return }
        events.insert(.engine(server), at: time)
    }

    private func firstToken(_ job: ServingJob) {
        guard job.stage != .prefill, let flight = flights[job.request.number], !flight.hasBegun else { return }
        flight.hasBegun = true
        flight.replica.firstToken(job.request, at: now)
        guard job.request.arrival >= workload.warmUp else { return }
        results.add(timeToFirstToken: now - job.request.arrival, stage: job.request.stage)
    }

    private func finished(_ job: ServingJob, at server: Int) {
        guard let flight = flights[job.request.number] else { return }
        guard job.stage == .prefill else { return end(flight, hasFailed: false) }
        flight.replica.prefilled(job.request, at: now)
        let costs = servers[flight.placement.server].costs
        let wait = costs.transfer + costs.transferToken * Double(job.request.promptTokens)
        events.insert(.delivery(flight, server: flight.placement.server, .decode), at: now + wait)
    }

    private func end(_ flight: Flight, hasFailed: Bool) {
        flights[flight.request.number] = nil
        flight.replica.ended(flight.request, at: now)
        results.lastEnd = now
        if hasFailed { results.failed += 1 } else { results.completed += 1 }
        if let next = workload.follow(flight.request, at: now) {
            arrivals.insert(next, at: next.arrival)
        }
    }

    // MARK: Outages

    private func die(_ number: Int) {
        let server = workload.outages[number].server
        isDown[server] = true
        for replica in replicas { replica.watch(server) }
        for job in engines[server].fail() {
            guard let flight = flights[job.request.number] else { continue }
            // An answer that has begun cannot be had from elsewhere.
            if flight.hasBegun { end(flight, hasFailed: true) } else { retry(flight, insteadOf: server, job.stage) }
        }
    }

    private func revive(_ number: Int) {
        let server = workload.outages[number].server
        isDown[server] = false
        isListed[server] = true
        for replica in replicas { replica.list(isListed) }
    }

    // MARK: Scraping

    private func scrape(_ replica: Int) {
        let pages = replicas[replica].ask(engines, isDown: isDown, at: now)
        events.insert(.pages(replica: replica, pages), at: now + settings.scrapeDelay)
        var next = now + settings.scrapeInterval
        if !workload.hasFollowUps {
            // Pages that no decision can see need not be asked for.
            guard let arrival = arrivals.firstTime else { return }
            let idle = ((arrival - settings.scrapeDelay - next) / settings.scrapeInterval).rounded(.down) - 1
            next += max(0, idle) * settings.scrapeInterval
        } else if arrivals.isEmpty, flights.isEmpty {
            return
        }
        events.insert(.scrape(replica: replica), at: next)
    }

    // MARK: Results

    private func finished() -> RunResult {
        results.failed += flights.count
        for engine in engines { results.add(engine) }
        results.sort()
        return results
    }
}

/// A request under way.
final class Flight {
    let request: SimulatedRequest
    let replica: PickerReplica
    var placement: Placement
    var hasBegun = false
    var attempts = 1

    init(request: SimulatedRequest, replica: PickerReplica, placement: Placement) {
        self.request = request
        self.replica = replica
        self.placement = placement
    }
}

/// Where a request goes: one server, or one for its prompt and one for its answer.
struct Placement {
    var server: Int
    var prefill: Int?

    mutating func move(to other: Int, isPrefill: Bool) {
        if isPrefill { prefill = other } else { server = other }
    }
}
