import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Decodes that Apus runs itself")
struct RelayTests {
    private func engine(_ body: String) -> String? {
        body.firstMatch(of: /"(?:remote_engine_id":"|ctx_request_id":)(\w+)/).map { String($0.1) }
    }

    @Test(
        "A decode that fails before its first byte is run elsewhere, after a new prefill where parameters may have been used",
        arguments: ConnectorName.allCases,
        DecodeFault.all
    )
    func again(_ connector: ConnectorName, _ fault: DecodeFault) async throws {
        let bench = OrchestrationBench(connector) { sent in
            sent.leg.stage == .decode && sent.index == 0 && !sent.isSide ? fault.reply : nil
        }
        let run = try bench.run()
        do {
            let relayed = try await run.relay()
            #expect(relayed.status == 200)
            #expect(relayed.attempt == 2)
            #expect(relayed.first.map { String(repairing: $0.bytes) } == Reply.decoded)
            #expect(relayed.order.endpoint?.address == "10.0.1.2")
            let decodes = bench.transport.sent(.decode)
            #expect(decodes.map(\.leg.endpoint.address) == ["10.0.1.1", "10.0.1.2"])
            #expect(decodes.map(\.leg.attempt) == [1, 2])
            #expect(decodes.allSatisfy { !$0.leg.mayResend })
            let prefills = bench.transport.sent(.prefill)
            #expect(prefills.count == (fault.arrived || connector.isConcurrent ? 2 : 1))
            #expect(prefills.map(\.leg.attempt) == Array(1...prefills.count))
            if connector.needsParameters {
                #expect((engine(decodes[0].body) == engine(decodes[1].body)) == !fault.arrived)
            }
            #expect(run.journal.summary.contains("decode 10.0.1.1 #1 \(fault.outcome)"))
            // The failed one has no load any more.
            #expect(try bench.endpoint("10.0.1.1").load.reading.requests == 0)
            #expect(try bench.endpoint("10.0.1.2").load.reading.requests == 1)
            bench.orchestrator.conclude(relayed.order, isDecoded: true)
            // Every leg was reported once: two decodes less the one that goes on, and every prefill.
            #expect(run.journal.legs.count == prefills.count + 1)
        }
        run.end()
        #expect(run.journal.count("stranded") == 0)
        #expect(bench.resumptions.count == 0)
        if !connector.isConcurrent { #expect(await bench.isIdle()) }
    }

    @Test("What speaks against a decode endpoint itself opens its breaker", arguments: DecodeFault.all)
    func breakers(_ fault: DecodeFault) async throws {
        let bench = OrchestrationBench(.nixlv2, decodes: 1) { sent in sent.leg.stage == .decode ? fault.reply : nil }
        for number in 1...3 {
            #expect(try bench.state("10.0.1.1") == .closed)
            _ = await (try bench.run { $0.requestID = "r-\(number)" }).relayError()
        }
        #expect(try bench.state("10.0.1.1") == (fault.countsForBreaker ? .open : .closed))
        #expect(await (try bench.run { $0.requestID = "r-4" }).relayError() != nil)
        // There is no other, so it is asked all the same.
        #expect(bench.transport.sent(.decode).count == 4)
    }

    @Test(
        "No two decodes ever get the same parameters unless the first could not be reached",
        arguments: DecodeFault.all
    )
    func parametersOnce(_ fault: DecodeFault) async throws {
        let bench = OrchestrationBench(.nixlv2, decodes: 5) {
            $0.maxAttempts = 5
        } script: { sent in
            sent.leg.stage == .decode ? fault.reply : nil
        }
        let run = try bench.run()
        #expect(await run.relayError()?.word.hasPrefix("decode exhausted: ") == true)
        let engines = bench.transport.sent(.decode).compactMap { engine($0.body) }
        #expect(engines.count == 5)
        #expect(Set(engines).count == (fault.arrived ? 5 : 1))
        run.end()
        #expect(run.journal.count("stranded") == 0)
        #expect(bench.resumptions.count == (fault.arrived ? 0 : 1))
        #expect(await bench.isIdle())
    }

    @Test(
        "A decode's own refusal, and any other answer that is none to run again, is the client's",
        arguments: [200, 201, 301, 400, 401, 404, 422]
    )
    func passedOn(_ status: Int) async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in
            sent.leg.stage == .decode ? .pieces(status, ["a", "b"], end: nil) : nil
        }
        let run = try bench.run()
        do {
            let relayed = try await run.relay()
            #expect(relayed.status == status)
            #expect(relayed.headers.map(\.name) == ["x-engine"])
            #expect(relayed.first.map { String(repairing: $0.bytes) } == "a")
            #expect(try await relayed.rest?.next().map { String(repairing: $0.bytes) } == "b")
            #expect(try await relayed.rest?.next() == nil)
            #expect(relayed.order.body.count == 0)
        }
        run.end()
        #expect(bench.transport.sent(.decode).count == 1)
        #expect(bench.resumptions.count == 0)
        #expect(await bench.isIdle())
    }

    @Test("After its first byte a decode is never run again")
    func afterTheFirstByte() async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in
            sent.leg.stage == .decode ? .pieces(200, ["a"], end: LegFailure(.reset, "scripted")) : nil
        }
        let run = try bench.run()
        let relayed = try await run.relay()
        await #expect(throws: LegFailure.self) { try await relayed.rest?.next() }
        #expect(bench.transport.sent(.decode).count == 1)
    }

    @Test("An empty answer is whole")
    func empty() async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in sent.leg.stage == .decode ? .answer(200, "") : nil }
        let run = try bench.run()
        let relayed = try await run.relay()
        #expect(relayed.first == nil)
        #expect(relayed.rest == nil)
    }

    @Test("Without parameters a dead connection may be replaced, and the same request goes to the next endpoint")
    func withoutPrefill() async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in sent.index == 0 ? .answer(503, "") : nil }
        let run = try bench.run { $0.wantsPrefill = false }
        let relayed = try await run.relay()
        #expect(relayed.order.prefill == nil)
        let decodes = bench.transport.sent(.decode)
        #expect(decodes.map(\.body) == [OrchestrationBench.prompt, OrchestrationBench.prompt])
        #expect(decodes.allSatisfy { $0.leg.mayResend })
        #expect(bench.transport.sent(.prefill).isEmpty)
    }

    @Test("Exhausted decodes name every leg that failed")
    func exhausted() async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in sent.leg.stage == .decode ? .answer(502, "") : nil }
        guard case .exhausted(.decode, let legs) = await (try bench.run()).relayError() else {
            Issue.record("not exhausted")
            return
        }
        #expect(
            OrchestrationError.describe(legs) == "decode 10.0.1.1:8000 http_502, decode 10.0.1.2:8000 http_502"
        )
    }

    @Test(
        "Without a permit on any decode endpoint it is too many requests, and what the prefill left waits for the client's return"
    )
    func noPermit() async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in sent.leg.stage == .decode ? .failure(.noPermit) : nil }
        let run = try bench.run()
        #expect(await run.relayError()?.word == "no permit")
        #expect(run.journal.summary.dropFirst() == ["decode 10.0.1.1 #1 no_permit", "decode 10.0.1.2 #1 no_permit"])
        #expect(run.journal.count("DECODE_FORWARDED") == 0)
        run.end()
        #expect(bench.resumptions.count == 1)
    }

    @Test("No prompt is computed while no decode endpoint has room", arguments: ConnectorName.allCases)
    func noRoom(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, script: allGood)
        bench.transport.fill("10.0.1.1", "10.0.1.2")
        let run = try bench.run()
        #expect(await run.relayError()?.word == "no permit")
        #expect(bench.transport.sent.isEmpty)
        #expect(run.journal.events.isEmpty)
        run.end()
        #expect(await bench.isIdle())
    }

    @Test("Room at one decode endpoint is enough, and what a prefill left needs none")
    func someRoom() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        bench.transport.fill("10.0.1.1")
        _ = try await bench.run().relay()
        #expect(bench.transport.sent(.prefill).count == 1)
    }

    @Test("No prompt is computed again when every decode endpoint has failed the request")
    func nobodyLeft() async throws {
        let bench = OrchestrationBench(.nixlv2, decodes: 1) { sent in sent.leg.stage == .decode ? .answer(500, "") : nil
        }
        let run = try bench.run()
        #expect(await run.relayError()?.word == "decode exhausted: http_500")
        #expect(bench.transport.sent(.prefill).count == 1)
        #expect(run.journal.count("stranded") == 0)
    }

    @Test("Where there is no permit for anybody nobody else is asked")
    func full() async throws {
        let bench = OrchestrationBench(.nixlv2, decodes: 5) { sent in sent.leg.stage == .decode ? .full : nil }
        let run = try bench.run()
        #expect(await run.relayError()?.word == "no permit")
        #expect(bench.transport.sent(.decode).count == 1)
        #expect(run.journal.count("DECODE_FORWARDED") == 0)
    }

    @Test("A decode counts as forwarded when it may have arrived", arguments: DecodeFault.all)
    func forwarded(_ fault: DecodeFault) async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in
            sent.leg.stage == .decode && sent.index == 0 ? fault.reply : nil
        }
        let run = try bench.run()
        _ = try await run.relay()
        #expect(run.journal.count("DECODE_FORWARDED") == (fault.arrived ? 2 : 1))
        #expect(run.journal.events.last == "DECODE_FORWARDED")
    }

    @Test("A decode endpoint with an open breaker is passed over, and used where there is no other")
    func breakersOpen() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        try bench.open("10.0.1.1")
        #expect(try await bench.run().relay().order.endpoint?.address == "10.0.1.2")
        try bench.open("10.0.1.2")
        #expect(try await bench.run().relay().order.endpoint != nil)
        #expect(try await bench.run().prepare().endpoint != nil)
    }

    @Test(
        "A prefill that fails while its decode waits ends both; another pair is made, and the failures count as the prefill's"
    )
    func companionFails() async throws {
        let gate = Gate()
        let bench = OrchestrationBench(.sglang) { sent in
            switch sent.leg.stage {
            case .prefill: .after(gate, .answer(503, ""))
            case .decode where !sent.isSide:
                // The prefill fails only now.
                {
                    gate.open(); return .silence
                }()
            default: nil
            }
        }
        let run = try bench.run()
        #expect(await run.relayError()?.word == "prefill exhausted: http_503 http_503 http_503")
        #expect(run.journal.summary.first == "decode 10.0.1.1 #1 cancelled")
        #expect(bench.transport.sent(.prefill).count == 3)
        #expect(run.journal.summary.count { $0.hasSuffix("http_503") } == 3)
        #expect(await eventually { bench.transport.sent.contains { $0.leg.path == "/abort_request" } })
        bench.clock.alarm.open()
        #expect(await bench.isIdle())
    }

    @Test("A prefill's refusal of the request ends its decode and is the client's")
    func companionRefuses() async throws {
        let gate = Gate()
        let bench = OrchestrationBench(.sglang) { sent in
            switch sent.leg.stage {
            case .prefill: .after(gate, .answer(400, "too long"))
            case .decode where !sent.isSide:
                {
                    gate.open(); return .silence
                }()
            default: nil
            }
        }
        let run = try bench.run()
        #expect(await run.relayError()?.word == "refused 400")
        #expect(run.journal.summary.sorted() == ["decode 10.0.1.1 #1 cancelled", "prefill 10.0.0.1 #1 http_400"])
        bench.clock.alarm.open()
        #expect(await bench.isIdle())
    }

    @Test("A decode that fails ends the prefill beside it", arguments: PairedLegsTests.concurrent)
    func decodeFails(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector) { sent in
            sent.leg.stage == .decode && !sent.isSide ? .answer(500, "") : nil
        }
        let run = try bench.run()
        #expect(await run.relayError()?.word.hasPrefix("decode exhausted") == true)
        #expect(
            run.journal.summary == [
                "decode 10.0.1.1 #1 http_500", "prefill 10.0.0.1 #1 cancelled",
                "decode 10.0.1.2 #2 http_500", "prefill 10.0.0.1 #2 cancelled",
            ]
        )
        run.end()
        #expect(await bench.isIdle())
    }

    @Test("TensorRT-LLM's text that ended with its first token is the answer, except to a client that wants a stream")
    func finalAnswer() async throws {
        let answer = #"{"choices":[{"text":"yes","finish_reason":"stop"}]}"#
        let state = #""disaggregated_params":{"opaque_state":"{]"}"#
        let given =
            #"{\#(state),"choices":[{"text":"yes","finish_reason":"stop" , \#(state)}]}"#
        let bench = OrchestrationBench(.trtllm) { sent in sent.leg.stage == .prefill ? .answer(200, given) : nil }
        let relayed = try await bench.run().relay()
        #expect(relayed.first.map { String(repairing: $0.bytes) } == answer)
        #expect(relayed.rest == nil)
        #expect(bench.transport.sent(.decode).isEmpty)

        let stream = #"{"model":"m","prompt":"tell me","stream":true}"#
        let streamed = try await bench.run(stream).relay()
        #expect(streamed.order.prefill == nil)
        #expect(bench.transport.sent(.decode).map(\.body) == [stream])
    }

    @Test("A handed-off decode that failed counts as the first, and its endpoint is not chosen again")
    func rescued() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        let run = try bench.run()
        do {
            let order = try await run.prepare()
            order.dispatched()
            let endpoint = try #require(order.endpoint)
            let report = LegReport(
                stage: .decode,
                endpoint: endpoint.hostPort,
                attempt: 1,
                outcome: "http_500",
                seconds: 0
            )
            run.request.decodeFailed(endpoint, report, bench.orchestrator.nextDeadline)
        }
        let relayed = try await run.relay()
        #expect(relayed.attempt == 2)
        #expect(relayed.order.endpoint?.address == "10.0.1.2")
        #expect(bench.transport.sent(.prefill).count == 2)
    }

    @Test("A decode whose prefill failed beside it is not to blame: its endpoint may serve the next attempt")
    func cancelled() async throws {
        let bench = OrchestrationBench(.nixlv2, decodes: 1, script: allGood)
        let run = try bench.run()
        do {
            let order = try await run.prepare()
            order.dispatched()
            run.request.decodeCancelled(bench.orchestrator.nextDeadline)
        }
        let relayed = try await run.relay()
        #expect(relayed.attempt == 2)
        #expect(relayed.order.endpoint?.address == "10.0.1.1")
    }
}
