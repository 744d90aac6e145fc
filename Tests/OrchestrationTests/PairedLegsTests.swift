import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Prefills beside their decodes")
struct PairedLegsTests {
    static let concurrent: [ConnectorName] = [.sglang, .mooncake]

    @Test(
        "Both legs are known by the same transfer, and the load of both is reserved while they run",
        arguments: concurrent
    )
    func together(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, script: allGood)
        let run = try bench.run()
        do {
            let order = try await run.prepare()
            #expect(run.journal.events == ["PREFILL_SELECTED", "TRANSFER_COMPLETE"])
            #expect(order.cachedTokens == nil)
            #expect(try bench.endpoint("10.0.0.1").load.reading.requests == 1)
            #expect(try bench.endpoint("10.0.1.1").load.reading.requests == 1)
            #expect(bench.transport.underWay == 1)
            order.dispatched()
            #expect(bench.orchestrator.companionEnded(order) == nil)
            bench.orchestrator.conclude(order, isDecoded: false)
            bench.orchestrator.conclude(order, isDecoded: false)
            #expect(run.journal.summary == ["prefill 10.0.0.1 #1 cancelled"])
        }
        run.end()
        #expect(await bench.isIdle())
        #expect(bench.transport.cancelled == 1)
        // What was called off says nothing of its endpoint.
        #expect(try bench.state("10.0.0.1") == .closed)
    }

    @Test("A prefill beside its decode is sent once: who sees a room twice may take the second for the first")
    func sentOnce() async throws {
        for connector in ConnectorName.allCases {
            let bench = OrchestrationBench(connector, script: allGood)
            let run = try bench.run()
            _ = try await run.prepare()
            let prefills = bench.transport.sent(.prefill)
            #expect(!prefills.isEmpty)
            #expect(prefills.allSatisfy { $0.leg.mayResend != connector.isConcurrent }, "\(connector)")
        }
    }

    @Test("An order that is dropped ends its prefill", arguments: concurrent)
    func dropped(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, script: allGood)
        let run = try bench.run()
        _ = try await run.prepare()
        #expect(await bench.isIdle())
        #expect(bench.transport.cancelled == 1)
    }

    @Test(
        "A prefill that succeeds within its time of grace is reported once, and so is its checkpoint",
        arguments: concurrent
    )
    func earlySuccess(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector) { sent in
            sent.leg.stage == .prefill && !sent.isSide ? .answer(200, Reply.prefilled(connector)) : nil
        }
        let run = try bench.run()
        let order = try await run.prepare()
        let ended = Gate()
        order.companion?.whenEnded { ended.open() }
        #expect(await ended.wait())
        #expect(bench.orchestrator.companionEnded(order) == nil)
        bench.orchestrator.conclude(order, isDecoded: true)
        #expect(run.journal.summary == ["prefill 10.0.0.1 #1 ok"])
        #expect(run.journal.count("PREFILL_COMPLETE") == 1)
        #expect(try bench.endpoint("10.0.0.1").load.reading.requests == 0)
        #expect(try bench.hasLearnt("10.0.0.1"))
    }

    @Test("All who wait for a prefill's end learn of it")
    func severalWait() async throws {
        let gate = Gate()
        let bench = OrchestrationBench(.sglang) { sent in
            sent.leg.stage == .prefill ? .after(gate, .answer(200, "{}")) : nil
        }
        let order = try await bench.run().prepare()
        let companion = try #require(order.companion)
        let (one, two, late) = (Gate(), Gate(), Gate())
        companion.whenEnded { one.open() }
        companion.whenEnded { two.open() }
        gate.open()
        #expect(await one.wait())
        #expect(await two.wait())
        companion.whenEnded { late.open() }
        #expect(await late.wait())
    }

    @Test(
        "A prefill that fails after its decode was sent is exhaustion, or the engine's own refusal",
        arguments: concurrent
    )
    func lateFailure(_ connector: ConnectorName) async throws {
        let cases: [(Reply, String, String)] = [
            (.answer(503, ""), "prefill exhausted: http_503", "http_503"),
            (.failure(.reset, breaker: true), "prefill exhausted: reset", "reset"),
            (
                .answer(200, #"{"choices":[{"finish_reason":"abort"}]}"#), "prefill exhausted: bad_response",
                "bad_response"
            ),
            (.answer(422, "no"), "refused 422", "http_422"),
        ]
        for (reply, word, outcome) in cases {
            let gate = Gate()
            let bench = OrchestrationBench(connector) { sent in
                sent.leg.stage == .prefill && !sent.isSide ? .after(gate, reply) : nil
            }
            let run = try bench.run()
            let order = try await run.prepare()
            order.dispatched()
            let ended = Gate()
            order.companion?.whenEnded { ended.open() }
            gate.open()
            #expect(await ended.wait())
            #expect(bench.orchestrator.companionEnded(order)?.word == word)
            #expect(run.journal.summary == ["prefill 10.0.0.1 #1 \(outcome)"])
            #expect(bench.orchestrator.companionEnded(order) == nil)
        }
    }

    @Test(
        "A prefill that goes on after its decode's answer is reported as it ends, and counts as it ends",
        arguments: concurrent
    )
    func outlives(_ connector: ConnectorName) async throws {
        let cases: [(Reply, String, Breaker.State)] = [
            (.answer(200, Reply.prefilled(connector)), "ok", .closed),
            (.failure(.reset, breaker: true), "reset", .open),
        ]
        for (reply, outcome, state) in cases {
            let gate = Gate()
            let bench = OrchestrationBench(connector, prefills: 1) { sent in
                sent.leg.stage == .prefill && !sent.isSide ? .after(gate, reply) : nil
            }
            // The one try of a half-open breaker.
            try bench.open("10.0.0.1")
            bench.clock.advance(by: .seconds(5))
            let run = try bench.run()
            do {
                let order = try await run.prepare()
                order.dispatched()
                bench.orchestrator.conclude(order, isDecoded: true)
                bench.orchestrator.conclude(order, isDecoded: true)
                #expect(run.journal.summary == ["prefill 10.0.0.1 #1 unfinished"])
            }
            run.end()
            #expect(run.journal.late.outcomes.isEmpty)
            #expect(try bench.endpoint("10.0.0.1").load.reading.requests == 1)
            gate.open()
            #expect(await eventually { !run.journal.late.outcomes.isEmpty })
            #expect(run.journal.late.outcomes == [outcome])
            #expect(try bench.state("10.0.0.1") == state)
            #expect(await bench.isIdle())
        }
    }

    @Test("SGLang's decode is told twice to give up the very request it was sent")
    func abort() async throws {
        let bench = OrchestrationBench(.sglang, script: allGood)
        let run = try bench.run()
        let order = try await run.prepare()
        let body = String(repairing: order.body.joined().bytes)
        let rid = try #require(body.firstMatch(of: /"rid":"([^"]+)"/)).1
        bench.orchestrator.abort(order)
        #expect(await eventually { !bench.clock.sleeps.isEmpty })
        bench.clock.alarm.open()
        #expect(await eventually { bench.transport.sent.count(where: { $0.isSide }) == 2 })
        for side in bench.transport.sent.filter(\.isSide) {
            #expect(side.leg.path == "/abort_request")
            #expect(side.leg.endpoint.address == "10.0.1.1")
            #expect(side.leg.isUrgent)
            #expect(side.body == #"{"rid":"\#(rid)"}"#)
        }
        #expect(bench.clock.sleeps == [.seconds(2)])
    }

    @Test("Mooncake's prefill endpoint is asked who it is before each attempt; who does not say is passed over")
    func inquiry() async throws {
        let cases: [(Reply, String)] = [
            (.refused, "connect_failed"), (.answer(404, ""), "http_404"), (.answer(500, ""), "http_500"),
            (.answer(200, "[]"), "bad_response"), (.answer(200, "{}"), "bad_response"),
            (.failure(.timeout, breaker: true), "timeout"), (.failure(.noPermit), "no_permit"),
        ]
        for (reply, outcome) in cases {
            let bench = OrchestrationBench(.mooncake) { sent in
                sent.leg.method == "GET" && sent.leg.endpoint.address == "10.0.0.1" ? reply : nil
            }
            let run = try bench.run()
            let order = try await run.prepare()
            #expect(order.prefill?.address == "10.0.0.2")
            #expect(run.journal.summary == ["prefill 10.0.0.1 #1 \(outcome)"])
            let inquiry = try #require(bench.transport.sent.first)
            #expect(inquiry.leg.port == 8998)
            #expect(inquiry.leg.path == "/query")
            #expect(bench.transport.sent(.prefill).map(\.leg.attempt) == [outcome == "no_permit" ? 1 : 2])
            #expect(String(repairing: order.body.joined().bytes).contains(#""remote_engine_id":"engine-0""#))
            bench.orchestrator.conclude(order, isDecoded: false)
        }
    }

    @Test("An inquiry that fails in the one try of a half-open breaker opens it again")
    func inquiryProbe() async throws {
        let bench = OrchestrationBench(.mooncake, prefills: 1) { sent in sent.leg.method == "GET" ? .refused : nil }
        try bench.open("10.0.0.1")
        bench.clock.advance(by: .seconds(5))
        #expect(await (try bench.run()).prepareError()?.word == "prefill exhausted: connect_failed")
        #expect(try bench.state("10.0.0.1") == .open)
    }

    @Test("Without anybody to decode no prefill is sent", arguments: concurrent)
    func nobodyDecodes(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, decodes: 0, script: allGood)
        #expect(await (try bench.run()).prepareError()?.word == "no decode endpoint")
        #expect(bench.transport.sent(.prefill).isEmpty)
        #expect(await bench.isIdle())
    }
}
