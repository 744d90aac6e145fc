import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Clients that leave")
struct LeavingClientTests {
    /// Leaves once a leg is silent.
    private func leave(_ bench: OrchestrationBench, legs: Int = 1) -> Task<Void, Never> {
        let (client, transport) = (bench.client, bench.transport)
        return Task {
            await transport.silent(legs)
            client.open()
        }
    }

    @Test("During an encode, every leg is cancelled and reported", arguments: [1, 5, 20])
    func encoding(_ images: Int) async throws {
        let bench = OrchestrationBench(.nixlv2, encoders: 3, { $0.encodeConnector = .nixl }) { sent in
            sent.leg.stage == .encode ? .silence : nil
        }
        let run = try bench.run(EncodeLegTests.images(images)) { $0.encodes() }
        let leaving = leave(bench, legs: min(images, 8))
        #expect(await run.prepareError()?.word == "client gone")
        await leaving.value
        #expect(run.journal.legs.map(\.outcome) == Array(repeating: "cancelled", count: min(images, 8)))
        run.end()
        #expect(await bench.isIdle())
        #expect(bench.transport.cancelled == min(images, 8))
    }

    @Test("During a prefill, at any attempt, the leg is cancelled and its endpoint's one try given back")
    func prefilling() async throws {
        for attempt in 0...2 {
            let bench = OrchestrationBench(.nixlv2) { sent in
                sent.leg.stage == .prefill ? (sent.index == attempt ? .silence : .answer(503, "")) : nil
            }
            let address = "10.0.0.\(attempt + 1)"
            if attempt == 0 {
                try bench.open(address)
                bench.clock.advance(by: .seconds(5))
            }
            let run = try bench.run()
            let leaving = leave(bench)
            #expect(await run.prepareError()?.word == "client gone")
            await leaving.value
            #expect(run.journal.summary.last == "prefill \(address) #\(attempt + 1) cancelled")
            #expect(try bench.endpoint(address).breaker.allows(at: bench.clock.now))
            run.end()
            #expect(await bench.isIdle())
            #expect(bench.resumptions.count == 0)
            #expect(run.journal.count("stranded") == 0)
        }
    }

    @Test("During an inquiry and during the time of grace", arguments: PairedLegsTests.concurrent)
    func pairing(_ connector: ConnectorName) async throws {
        for method in ["GET", "POST"] where method == "POST" || connector == .mooncake {
            let bench = OrchestrationBench(connector, graceEnds: false) { sent in
                sent.leg.method == method ? .silence : nil
            }
            let run = try bench.run()
            let leaving = leave(bench)
            #expect(await run.prepareError()?.word == "client gone")
            await leaving.value
            #expect(run.journal.summary == ["prefill 10.0.0.1 #1 cancelled"])
            run.end()
            #expect(await bench.isIdle())
            #expect(bench.transport.cancelled == 1)
            #expect(try bench.state("10.0.0.1") == .closed)
        }
    }

    @Test("Between prefill and decode, what was computed waits for the client's return")
    func between() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        let run = try bench.run()
        do { _ = try await run.prepare() }
        run.end()
        run.end()
        #expect(bench.resumptions.count == 1)
        #expect(run.journal.count("stranded") == 0)
        #expect(await bench.isIdle())
    }

    @Test(
        "While a decode is waited for, every leg is cancelled and nothing is kept for another decode",
        arguments: ConnectorName.allCases
    )
    func decoding(_ connector: ConnectorName) async throws {
        for reply in [Reply.silence, .headOnly(200)] {
            let bench = OrchestrationBench(connector) { sent in
                sent.leg.stage == .decode && !sent.isSide ? reply : nil
            }
            let run = try bench.run()
            let leaving = leave(bench, legs: connector.isConcurrent ? 2 : 1)
            // TensorRT-LLM's decode is not called off before the cache can have been fetched.
            let (clock, transport) = (bench.clock, bench.transport)
            let time = Task {
                await leaving.value
                guard connector == .trtllm else { return }
                while !clock.sleeps.contains(.seconds(5)) { await Task.yield() }
                #expect(transport.cancelled == 0)
                clock.alarm.open()
            }
            #expect(await run.relayError()?.word == "client gone")
            await time.value
            #expect(run.journal.summary.last == "decode 10.0.1.1 #1 cancelled")
            #expect(run.journal.summary.count { $0.hasPrefix("prefill") } == 1)
            run.end()
            #expect(await bench.isIdle())
            #expect(bench.resumptions.count == 0)
            #expect(bench.transport.cancelled == (connector.isConcurrent ? 2 : 1))
        }
    }

    @Test("What TensorRT-LLM computed is fetched by a decode that nobody waits for", arguments: [true, false])
    func fetched(_ isAnybodyLeft: Bool) async throws {
        let gate = Gate()
        let bench = OrchestrationBench(.trtllm) { sent in
            sent.leg.stage == .decode ? .after(gate, .answer(200, "{}")) : nil
        }
        let run = try bench.run(#"{"model":"m","prompt":"tell me","stream":true,"max_completion_tokens":50}"#)
        do { _ = try await run.prepare() }
        if !isAnybodyLeft { for address in ["10.0.1.1", "10.0.1.2"] { try bench.open(address) } }
        run.end()
        run.end()
        #expect(run.journal.count("stranded") == 1)
        #expect(bench.resumptions.count == 0)
        guard isAnybodyLeft else {
            #expect(bench.transport.sent(.decode).isEmpty)
            return
        }
        #expect(await eventually { bench.transport.sent(.decode).count == 1 })
        #expect(run.journal.summary.last == "decode 10.0.1.1 #1 unfinished")
        #expect(try bench.endpoint("10.0.1.1").load.reading.requests == 1)
        let fetch = try #require(bench.transport.sent(.decode).first)
        #expect(fetch.leg.isUrgent && !fetch.leg.mayResend)
        for part in [#""generation_only""#, #""max_tokens":1"#, #""stream":false"#] {
            #expect(fetch.body.contains(part))
        }
        #expect(!fetch.body.contains("max_completion_tokens"))
        gate.open()
        #expect(await eventually { run.journal.late.outcomes == ["ok"] })
        #expect(await bench.isIdle())
    }

    @Test("While a body streams, dropping it closes it")
    func streaming() async throws {
        let bench = OrchestrationBench(.nixlv2) { sent in
            sent.leg.stage == .decode ? .pieces(200, ["a", "b", "c"], end: nil) : nil
        }
        let run = try bench.run()
        do {
            let relayed = try await run.relay()
            #expect(relayed.rest != nil)
            #expect(bench.transport.bodiesOpen == 1)
        }
        run.end()
        #expect(await bench.isIdle())
    }

    @Test("A watch that can no longer tell does not end the request")
    func blindWatch() async throws {
        let gate = Gate()
        let bench = OrchestrationBench(.nixlv2, isBlind: true) { sent in
            sent.leg.stage == .prefill ? .after(gate, .answer(200, Reply.prefilled(.nixlv2))) : nil
        }
        let transport = bench.transport
        let engine = Task {
            await transport.silent()
            gate.open()
        }
        #expect(try await bench.run().prepare().prefill != nil)
        await engine.value
    }

    @Test("The request's body goes with its last leg")
    func body() async throws {
        let bench = OrchestrationBench(.nixlv2, script: allGood)
        let run = try bench.run()
        weak let body = run.request.facts.body
        #expect(body != nil)
        let relayed = try await run.relay()
        run.end()
        #expect(relayed.order.body.count == 0)
        bench.transport.forget()
        #expect(await eventually { body == nil })
    }
}
