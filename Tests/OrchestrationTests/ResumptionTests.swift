import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Requests that come again")
struct ResumptionTests {
    /// A request whose prefill was done and whose decode never began.
    private func leaveOne(
        _ bench: OrchestrationBench,
        _ change: (inout OrchestrationBench.Run.Options) -> Void = { _ in }
    ) async throws -> RecordingJournal {
        let run = try bench.run(OrchestrationBench.prompt, change)
        do { _ = try await run.prepare() }
        run.end()
        return run.journal
    }

    @Test(
        "The same request goes on where it was, once",
        arguments: [ConnectorName.nixlv2, .sharedStorage, .offloading]
    )
    func once(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, script: allGood)
        _ = try await leaveOne(bench)
        let again = try bench.run { $0.seed = 99 }
        let order = try await again.prepare()
        #expect(bench.transport.sent(.prefill).count == 1)
        #expect(order.prefill?.address == "10.0.0.1")
        #expect(again.journal.events == ["resumed", "PREFILL_COMPLETE", "TRANSFER_COMPLETE"])
        order.dispatched()
        again.end()
        #expect(bench.resumptions.count == 0)

        _ = try await bench.run().prepare()
        #expect(bench.transport.sent(.prefill).count == 2)
    }

    @Test("Another id, body, path, identity or connector is another request")
    func others() async throws {
        let changes: [(inout OrchestrationBench.Run.Options) -> Void] = [
            { $0.requestID = "r-2" }, { $0.identity = 8 }, { $0.mayReturn = false },
            { $0.path = "/v1/other" },
        ]
        for change in changes {
            let bench = OrchestrationBench(.nixlv2, script: allGood)
            _ = try await leaveOne(bench)
            let run = try bench.run(OrchestrationBench.prompt, change)
            _ = try await run.prepare()
            #expect(bench.transport.sent(.prefill).count == 2)
        }
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        _ = try await leaveOne(bench)
        _ = try await bench.run(#"{"model":"m","prompt":"tell ME","max_tokens":50}"#).prepare()
        #expect(bench.transport.sent(.prefill).count == 2)
        let other = OrchestrationBench(.offloading, resumptions: bench.resumptions, script: allGood)
        _ = try await other.run().prepare()
        #expect(other.transport.sent(.prefill).count == 1)
        #expect(bench.resumptions.count == 1)
    }

    @Test("What nobody can come again for is stranded at once")
    func withoutID() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        let journal = try await leaveOne(bench) { $0.mayReturn = false }
        #expect(journal.count("stranded") == 1)
        #expect(bench.resumptions.count == 0)
    }

    @Test("What is left for too long is stranded, and counted by whoever looks next")
    func expiry() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        for number in 1...3 { _ = try await leaveOne(bench) { $0.requestID = "r-\(number)" } }
        bench.clock.advance(by: Resumptions.validity)
        let late = try bench.run { $0.requestID = "r-2" }
        let order = try await late.prepare()
        #expect(late.journal.count("stranded") == 3)
        #expect(late.journal.count("resumed") == 0)
        #expect(bench.transport.sent(.prefill).count == 4)
        order.dispatched()
        #expect(bench.resumptions.count == 0)
    }

    @Test("What runs out when nobody comes is counted all the same")
    func timer() async throws {
        let clock = TestClock()
        let lost = LostPrompts()
        let resumptions = Resumptions(now: { clock.now }, sleep: { try await clock.sleep($0, nil) }) { lost.add($0) }
        let bench = OrchestrationBench(.nixlv2, resumptions: resumptions, clock: clock, script: allGood)
        for number in 1...3 { _ = try await leaveOne(bench) { $0.requestID = "r-\(number)" } }
        #expect(await eventually { !clock.sleeps.isEmpty })
        #expect(clock.sleeps == [Resumptions.validity])
        clock.advance(by: Resumptions.validity)
        clock.alarm.open()
        #expect(await eventually { lost.count == 3 })
        #expect(resumptions.count == 0)
    }

    @Test("Its time runs from the prefill's end, however often the request comes and goes")
    func age() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        _ = try await leaveOne(bench)
        bench.clock.advance(by: .seconds(15))
        let second = try await leaveOne(bench)
        #expect(second.count("resumed") == 1)
        bench.clock.advance(by: .seconds(5))
        let third = try await leaveOne(bench)
        #expect(third.count("resumed") == 0)
        #expect(third.count("stranded") == 1)
    }

    @Test("What is kept at an endpoint that cannot be reached is stranded")
    func unreachable() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        _ = try await leaveOne(bench)
        try bench.open("10.0.0.1")
        let again = try bench.run()
        #expect(try await again.prepare().prefill?.address == "10.0.0.2")
        #expect(again.journal.count("stranded") == 1)
    }

    @Test("A second one of the same kind takes the place of the first, and room is bounded")
    func bounded() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        let endpoint = try bench.endpoint("10.0.0.1")
        let now = bench.clock.now
        func keep(_ number: Int) -> Int {
            bench.resumptions.keep(
                FinishedPrefill(Handover(), endpoint: endpoint, attemptID: 1, at: now),
                for: Resumptions.Key(requestID: "r", fingerprint: UInt64(number)),
                at: now
            )
        }
        for number in 0..<(Resumptions.limit - 1) { #expect(keep(number) == 0) }
        #expect(keep(0) == 1)
        #expect(keep(Resumptions.limit) == 0)
        #expect(keep(Resumptions.limit + 1) == 1)
        #expect(bench.resumptions.count == Resumptions.limit)
    }
}

private final class LostPrompts: Sendable {
    private let state = Lock(0)
    var count: Int { state.withLock { $0 } }
    func add(_ count: Int) { state.withLock { $0 += count } }
}

@Suite("Pairs of endpoints")
struct PairTests {
    private func fail(_ bench: OrchestrationBench, times: Int = 1) async throws {
        for _ in 0..<times {
            let order = try await bench.run().prepare()
            order.dispatched()
            #expect(order.endpoint?.address == "10.0.1.1")
            bench.orchestrator.decodeEnded(order, failed: true)
            // Said once, it is said.
            bench.orchestrator.decodeEnded(order, failed: true)
        }
    }

    @Test("When they are tried again one request tries")
    func oneTries() async throws {
        let bench = OrchestrationBench(.nixlv2, prefills: 1, script: allGood)
        try await fail(bench, times: 3)
        bench.clock.advance(by: .seconds(5))
        let load = bench.pool.reserve(try bench.endpoint("10.0.1.2"), tokens: 1)
        func order(_ id: String) async throws -> DecodeOrder {
            let order = try await bench.run { $0.requestID = id }.prepare()
            order.dispatched()
            return order
        }
        do {
            let tries = try await order("r-1")
            #expect(tries.endpoint?.address == "10.0.1.1")
            #expect(try await order("r-2").endpoint?.address == "10.0.1.2")
            // It is called off: the next may try.
            bench.orchestrator.conclude(tries, isDecoded: false)
        }
        let next = try await order("r-3")
        #expect(next.endpoint?.address == "10.0.1.1")
        bench.orchestrator.decodeEnded(next, failed: false)
        #expect(try await order("r-4").endpoint?.address == "10.0.1.1")
        load.release()
    }

    @Test(
        "What a decode endpoint's answer says of the two",
        arguments: [
            (200, "well"), (400, ""), (408, ""), (429, ""), (500, "ill"), (502, "ill"), (503, ""), (504, "ill"),
        ]
    )
    func statuses(_ status: Int, _ word: String) async throws {
        let bench = OrchestrationBench(.nixlv2, prefills: 1, script: allGood)
        try await fail(bench, times: 2)
        do {
            let order = try await bench.run().prepare()
            order.dispatched()
            bench.orchestrator.decodeAnswered(order, status: status)
        }
        let pair = (try bench.endpoint("10.0.0.1"), try bench.endpoint("10.0.1.1"))
        #expect(bench.pairs.allows(pair.0, pair.1, at: bench.clock.now) == (word != "ill"))
        // What says nothing leaves the two failures before standing.
        if word != "ill" {
            try await fail(bench)
            #expect(bench.pairs.allows(pair.0, pair.1, at: bench.clock.now) == (word == "well"))
        }
    }

    @Test("Two that fail together three times are kept apart while others are there, and tried again later")
    func keptApart() async throws {
        let bench = OrchestrationBench(.nixlv2, prefills: 1, script: allGood)
        try await fail(bench, times: 3)
        let apart = try await bench.run().prepare()
        #expect(apart.prefill?.address == "10.0.0.1")
        #expect(apart.endpoint?.address == "10.0.1.2")
        apart.dispatched()
        bench.clock.advance(by: .seconds(5))
        let load = bench.pool.reserve(try bench.endpoint("10.0.1.2"), tokens: 1)
        try await fail(bench)
        #expect(try await bench.run { $0.requestID = "r-2" }.prepare().endpoint?.address == "10.0.1.2")
        bench.clock.advance(by: .seconds(5))
        load.release()
        let again = try await bench.run { $0.requestID = "r-3" }.prepare()
        #expect(again.endpoint?.address == "10.0.1.1")
        bench.orchestrator.decodeEnded(again, failed: false)
        #expect(bench.pairs.allows(try bench.endpoint("10.0.0.1"), try bench.endpoint("10.0.1.1"), at: bench.clock.now))
    }

    @Test("Where nobody else decodes they go on together")
    func nobodyElse() async throws {
        let bench = OrchestrationBench(.nixlv2, prefills: 1, decodes: 1, script: allGood)
        try await fail(bench, times: 4)
        #expect(try await bench.run().prepare().endpoint?.address == "10.0.1.1")
    }

    @Test("Success in between begins the count anew, and a decode without a prefill counts for nobody")
    func success() async throws {
        let bench = OrchestrationBench(.nixlv2, prefills: 1, script: allGood)
        try await fail(bench, times: 2)
        do {
            let order = try await bench.run().prepare()
            order.dispatched()
            bench.orchestrator.decodeEnded(order, failed: false)
        }
        try await fail(bench, times: 2)
        #expect(try await bench.run().prepare().endpoint?.address == "10.0.1.1")
        let alone = try await bench.run { $0.wantsPrefill = false }.prepare()
        bench.orchestrator.decodeEnded(alone, failed: true)
    }

    @Test("Pairs of endpoints that are gone make room for others")
    func room() throws {
        let pairs = PairBreakers()
        let pool = Pool(stalenessThreshold: .seconds(2))
        let policy = Breaker.Policy(failures: 1, openFor: .seconds(5))
        let now = MonotonicTime(nanoseconds: 1_000_000_000)
        pool.replaceEndpoints(
            (0...64).map { EndpointDescription(name: "e\($0)", namespace: "n", address: "10.0.0.\($0)", port: 1) }
        )
        let endpoints = pool.snapshot.endpoints
        for one in endpoints.prefix(64) {
            for two in endpoints.prefix(64) { pairs.ended(one, two, nil, failed: true, at: now, policy) }
        }
        pairs.ended(endpoints[64], endpoints[64], nil, failed: true, at: now, policy)
        #expect(pairs.allows(endpoints[64], endpoints[64], at: now))
        let later = now + .seconds(6)
        pairs.ended(endpoints[64], endpoints[64], nil, failed: true, at: later, policy)
        #expect(!pairs.allows(endpoints[64], endpoints[64], at: later))
    }
}
