import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

/// Engines that are scraped every 50 ms, and clients that ask again as soon as they are answered; all in virtual time.
private final class Simulation {
    struct Engine {
        var running: [(end: Int, client: Int, held: Held)] = []
        var waiting: [(client: Int, held: Held)] = []
        var most = 0
    }

    let harness: Harness
    /// Requests that an engine runs at once, and how long each takes.
    let slots: Int
    let answerTime: Int
    private var engines: [Engine]
    private var idle: [Int]
    private var queued: [(request: QueuedRequest, client: Int)] = []
    private(set) var answered = 0
    private(set) var milliseconds = 0
    /// The longest queue of an engine, and how many requests had to wait in Apus.
    var longestQueue = 0
    private(set) var delayed = 0

    init(endpoints: Int, slots: Int, answerTime: Int, clients: Int) {
        harness = Harness(endpoints: endpoints, detector: UtilizationDetector())
        self.slots = slots
        self.answerTime = answerTime
        engines = Array(repeating: Engine(), count: endpoints)
        idle = Array(0..<clients)
        scrape()
    }

    func addClients(_ count: Int) {
        idle += Array(repeating: 0, count: count)
    }

    func run(milliseconds duration: Int, scrapes: Bool = true) {
        for _ in 0..<duration {
            milliseconds += 1
            harness.alarm.advance(by: .milliseconds(1))
            work()
            if scrapes, milliseconds.isMultiple(of: 50) { scrape() }
            let asking = idle
            idle = []
            for client in asking { ask(client) }
            placeDispatched()
        }
    }

    private func work() {
        for index in engines.indices {
            for done in engines[index].running where done.end <= milliseconds {
                idle.append(done.client)
                answered += 1
            }
            engines[index].running.removeAll { $0.end <= milliseconds }
            while engines[index].running.count < slots, !engines[index].waiting.isEmpty {
                let next = engines[index].waiting.removeFirst()
                engines[index].running.append((milliseconds + answerTime, next.client, next.held))
            }
            longestQueue = max(longestQueue, engines[index].waiting.count)
        }
    }

    private func scrape() {
        for (endpoint, engine) in zip(harness.pool.snapshot.endpoints, engines) {
            var update = MetricsUpdate()
            update.waitingQueueSize = engine.waiting.count
            update.runningRequests = engine.running.count
            harness.pool.scrapeSucceeded(
                endpoint,
                harness.pool.scrapeStarted(endpoint, at: harness.alarm.now),
                update
            )
        }
        harness.pool.publish()
    }

    private func ask(_ client: Int) {
        let request = AdmissionRequest(receivedAt: harness.alarm.now)
        let pool = harness.pool
        let now = harness.alarm.now
        switch harness.controller.admit(request, candidates: { pool.candidates(at: now) }) {
        case .admitted(let grant): place(grant, client)
        case .queued(let entry):
            queued.append((entry, client))
            delayed += 1
        case .refused: idle.append(client)
        }
    }

    /// What is placed makes room for more.
    private func placeDispatched() {
        while let index = queued.firstIndex(where: { $0.request.outcome != nil }) {
            let (request, client) = queued.remove(at: index)
            guard request.outcome == .dispatched else {
                idle.append(client)
                continue
            }
            place(harness.controller.grant(of: request), client)
        }
    }

    private func place(_ grant: consuming AdmissionGrant, _ client: Int) {
        let endpoints = harness.pool.snapshot.endpoints
        let index = endpoints.indices.min { endpoints[$0].load.reading.requests < endpoints[$1].load.reading.requests }
        guard let index else { return }
        engines[index].waiting.append((client, Held(harness.pool.reserve(endpoints[index], tokens: 1))))
        grant.release()
    }
}

@Suite("Flow control by the engines' metrics, in virtual time")
struct FillingTests {
    @Test("Engines with free places get requests as fast as without flow control: none waits, from the first on")
    func idleEngines() {
        let simulation = Simulation(endpoints: 2, slots: 256, answerTime: 20, clients: 60)
        simulation.run(milliseconds: 5_000)
        // 60 clients, 20 ms each (and one until the engine looks): 1 ms less than 5 s in all.
        #expect(simulation.delayed == 0)
        #expect(simulation.answered >= 60 * 4_900 / 21)
    }

    @Test("A burst that the engines have room for goes at once, without a scrape in between")
    func burst() {
        let simulation = Simulation(endpoints: 2, slots: 256, answerTime: 1_000, clients: 400)
        simulation.run(milliseconds: 10, scrapes: false)
        #expect(simulation.delayed == 0)
        #expect(simulation.harness.inFlight == 400)
    }

    @Test(
        "Full engines stay busy, and what they cannot run waits in Apus, not with them",
        arguments: [(8, 20), (32, 200), (64, 1_000), (100, 3_000)]
    )
    func fullEngines(slots: Int, answerTime: Int) {
        let simulation = Simulation(endpoints: 2, slots: slots, answerTime: answerTime, clients: 2 * slots * 3 + 40)
        simulation.run(milliseconds: 10 * answerTime + 2_000)
        simulation.longestQueue = 0
        let before = simulation.answered
        let since = simulation.milliseconds
        simulation.run(milliseconds: 20 * answerTime)
        let possible = 2 * slots * (simulation.milliseconds - since) / answerTime
        #expect(simulation.answered - before >= possible * 9 / 10, "of \(possible)")
        #expect(simulation.harness.controller.waiting.requests > 0)
        // Five is the threshold; half as many as run may be more, and what an engine starts between two pages is let go for the next.
        let started = slots * 50 / answerTime
        #expect(simulation.longestQueue <= 5 + slots / 2 + 2 * started + 1, "\(simulation.longestQueue)")
    }
}
