import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Prefills that fail")
struct PrefillFailureTests {
    /// What in a leg's body names the transfer.
    private func transfer(_ body: String) -> String? {
        body.firstMatch(of: /"(?:transfer_id|bootstrap_room|kv_request_id)":"?([^",}]+)/).map { String($0.1) }
    }

    @Test(
        "A prefill that fails in any way is made elsewhere, and its decode gets what the good one left",
        arguments: ConnectorName.allCases,
        PrefillFault.all
    )
    func elsewhere(_ connector: ConnectorName, _ fault: PrefillFault) async throws {
        guard fault.concerns(connector) else { return }
        let bench = OrchestrationBench(connector) { sent in
            sent.leg.stage == .prefill && !sent.isSide && sent.index == 0 ? fault.reply : nil
        }
        let run = try bench.run()
        do {
            let order = try await run.prepare()
            #expect(order.prefill?.address == "10.0.0.2")
            #expect(order.decode?.endpoint.address == "10.0.1.1")
            let good = connector.isConcurrent ? [] : ["prefill 10.0.0.2 #2 ok"]
            #expect(run.journal.summary == ["prefill 10.0.0.1 #1 \(fault.outcome)"] + good)
            let prefills = bench.transport.sent(.prefill)
            #expect(prefills.map(\.leg.attempt) == [1, 2])
            #expect(prefills.map(\.leg.requestID) == ["r-1", "r-1"])
            let body = String(repairing: order.body.joined().bytes)
            switch connector {
            case .nixlv2: #expect(body.contains(#""remote_engine_id":"e1""#))
            case .trtllm: #expect(body.contains(#""ctx_request_id":1"#))
            case .sharedStorage: #expect(body == OrchestrationBench.prompt)
            case .sglang, .mooncake, .offloading:
                #expect(transfer(prefills[0].body) != transfer(prefills[1].body))
                #expect(transfer(body) != nil)
                #expect(transfer(body) == transfer(prefills[1].body))
                #expect(body.contains("10.0.0.2"))
            }
            // The load has moved to who works now.
            #expect(try bench.endpoint("10.0.0.1").load.reading.requests == 0)
            #expect(try bench.endpoint("10.0.0.2").load.reading.requests == (connector.isConcurrent ? 1 : 0))
            #expect(try bench.endpoint("10.0.1.1").load.reading.requests == 1)
            // Only from a prefill that succeeded can be told how long one takes.
            #expect(try !bench.hasLearnt("10.0.0.1"))
            #expect(try bench.hasLearnt("10.0.0.2") == !connector.isConcurrent)
            bench.orchestrator.conclude(order, isDecoded: false)
            order.dispatched()
        }
        run.end()
        #expect(await bench.isIdle())
        #expect(run.journal.count("stranded") == 0)
    }

    @Test(
        "Only what speaks against an endpoint itself opens its breaker, and three in a row do",
        arguments: ConnectorName.allCases,
        PrefillFault.all
    )
    func breakers(_ connector: ConnectorName, _ fault: PrefillFault) async throws {
        guard fault.concerns(connector) else { return }
        let bench = OrchestrationBench(connector, prefills: 1) { sent in
            sent.leg.stage == .prefill && !sent.isSide ? fault.reply : nil
        }
        for number in 1...3 {
            #expect(try bench.state("10.0.0.1") == .closed)
            _ = await (try bench.run { $0.requestID = "r-\(number)" }).prepareError()
        }
        #expect(try bench.state("10.0.0.1") == (fault.countsForBreaker ? .open : .closed))
        #expect(await bench.isIdle())
    }

    @Test(
        "When every endpoint fails the request does, with how each of them failed; or the decode computes its prompt itself",
        arguments: ConnectorName.allCases,
        OrchestrationSettings.Exhausted.allCases
    )
    func exhausted(_ connector: ConnectorName, _ given: OrchestrationSettings.Exhausted) async throws {
        let policy = ConnectorRegistry.effective(given, connector)
        let replies: [Reply] = [.refused, .answer(503, ""), .failure(.timeout, breaker: true)]
        let bench = OrchestrationBench(connector, prefills: 5) {
            $0.onExhausted = given
        } script: { sent in
            sent.leg.stage == .prefill && !sent.isSide ? replies[sent.index % 3] : nil
        }
        let run = try bench.run()
        switch policy {
        case .fail:
            #expect(await run.prepareError()?.word == "prefill exhausted: connect_failed http_503 timeout")
            #expect(run.journal.events.last == "prefill exhausted")
        case .decodeLocal:
            let order = try await run.prepare()
            #expect(order.prefill == nil)
            #expect(order.companion == nil)
            #expect(String(repairing: order.body.joined().bytes) == OrchestrationBench.prompt)
            #expect(run.journal.events.last == "prefill exhausted, decoded locally")
        }
        #expect(bench.transport.sent(.prefill).count == 3)
        #expect(bench.transport.sent(.decode).isEmpty)
        run.end()
    }

    @Test(
        "A second internal error in one request is the last",
        arguments: ConnectorName.allCases,
        OrchestrationSettings.Exhausted.allCases
    )
    func internalErrors(_ connector: ConnectorName, _ given: OrchestrationSettings.Exhausted) async throws {
        let policy = ConnectorRegistry.effective(given, connector)
        let bench = OrchestrationBench(connector, prefills: 5) {
            $0.maxAttempts = 5
            $0.onExhausted = given
        } script: { sent in
            guard sent.leg.stage == .prefill, !sent.isSide else { return nil }
            return sent.index == 1 ? .answer(503, "") : .answer(500, "")
        }
        let run = try bench.run()
        switch policy {
        case .fail: #expect(await run.prepareError()?.word == "prefill exhausted: http_500 http_503 http_500")
        case .decodeLocal: #expect(try await run.prepare().prefill == nil)
        }
        #expect(bench.transport.sent(.prefill).count == 3)
    }

    @Test(
        "What an engine says of the request itself goes to the client as it is",
        arguments: ConnectorName.allCases,
        [400, 401, 403, 404, 409, 413, 422, 499]
    )
    func refused(_ connector: ConnectorName, _ status: Int) async throws {
        for policy in OrchestrationSettings.Exhausted.allCases {
            let bench = OrchestrationBench(connector) {
                $0.onExhausted = policy
            } script: { sent in
                sent.leg.stage == .prefill && !sent.isSide ? .answer(status, "no, because") : nil
            }
            let run = try bench.run()
            guard case .refused(let answer) = await run.prepareError() else {
                Issue.record("not refused")
                continue
            }
            #expect(answer.status == status)
            #expect(String(repairing: answer.body.bytes) == "no, because")
            #expect(answer.headers.map(\.name) == ["x-engine"])
            #expect(run.journal.summary == ["prefill 10.0.0.1 #1 http_\(status)"])
            #expect(await bench.isIdle())
        }
    }

    @Test("Endpoints without a permit are passed over and count as no attempt", arguments: ConnectorName.allCases)
    func someWithoutPermit(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, prefills: 5) { sent in
            sent.leg.stage == .prefill && !sent.isSide && sent.index < 4 ? .failure(.noPermit) : nil
        }
        let run = try bench.run()
        let order = try await run.prepare()
        #expect(order.prefill?.address == "10.0.0.5")
        #expect(bench.transport.sent(.prefill).map(\.leg.attempt) == [1, 1, 1, 1, 1])
        for number in 1...5 { #expect(try bench.state("10.0.0.\(number)") == .closed) }
        bench.orchestrator.conclude(order, isDecoded: false)
    }

    @Test(
        "Without a permit anywhere it is too many requests, whatever is configured for exhaustion",
        arguments: ConnectorName.allCases,
        OrchestrationSettings.Exhausted.allCases
    )
    func noPermit(_ connector: ConnectorName, _ policy: OrchestrationSettings.Exhausted) async throws {
        let bench = OrchestrationBench(connector) {
            $0.onExhausted = policy
        } script: { sent in
            sent.leg.stage == .prefill ? .failure(.noPermit) : nil
        }
        let run = try bench.run()
        #expect(await run.prepareError()?.word == "no permit")
        #expect(run.journal.legs.map(\.outcome) == ["no_permit", "no_permit", "no_permit"])
        #expect(await bench.isIdle())
    }

    @Test(
        "Where there is no permit for anybody nobody else is asked",
        arguments: ConnectorName.allCases,
        OrchestrationSettings.Exhausted.allCases
    )
    func full(_ connector: ConnectorName, _ policy: OrchestrationSettings.Exhausted) async throws {
        let bench = OrchestrationBench(connector) {
            $0.onExhausted = policy
        } script: { sent in
            sent.leg.stage == .prefill ? .full : nil
        }
        let run = try bench.run()
        #expect(await run.prepareError()?.word == "no permit")
        #expect(run.journal.legs.map(\.outcome) == ["no_permit"])
        #expect(await bench.isIdle())

        let late = OrchestrationBench(connector) { sent in
            guard sent.leg.stage == .prefill, !sent.isSide else { return nil }
            return sent.index == 0 ? .answer(503, "") : .full
        }
        #expect(await (try late.run()).prepareError()?.word == "prefill exhausted: http_503 no_permit")
    }

    @Test("A last candidate without a permit after another's failure is exhaustion", arguments: ConnectorName.allCases)
    func lastWithoutPermit(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, prefills: 2) { sent in
            guard sent.leg.stage == .prefill, !sent.isSide else { return nil }
            return sent.index == 0 ? .answer(503, "") : .failure(.noPermit)
        }
        let run = try bench.run()
        #expect(await run.prepareError()?.word == "prefill exhausted: http_503 no_permit")
    }

    @Test(
        "Another endpoint than the prefill's decodes; where there is none that has the prompt already",
        arguments: ConnectorName.allCases
    )
    func itself(_ connector: ConnectorName) async throws {
        let other = OrchestrationBench(connector, prefills: 1, decodes: 1, script: allGood)
        let load = other.pool.reserve(try other.endpoint("10.0.1.1"), tokens: 1)
        let split = try other.run()
        split.picker.generalists = ["10.0.0.1"]
        do {
            let order = try await split.prepare()
            #expect(order.endpoint?.address == "10.0.1.1")
            #expect(order.prefill?.address == "10.0.0.1")
            other.orchestrator.conclude(order, isDecoded: false)
        }
        load.release()

        guard connector != .sglang else { return }
        let bench = OrchestrationBench(connector, prefills: 1, decodes: 0, script: allGood)
        let run = try bench.run()
        run.picker.generalists = ["10.0.0.1"]
        do {
            let order = try await run.prepare()
            #expect(order.endpoint?.address == "10.0.0.1")
            #expect(order.prefill == nil)
            #expect(String(repairing: order.body.joined().bytes) == OrchestrationBench.prompt)
            #expect(bench.transport.sent(.prefill).count == (connector.isConcurrent ? 0 : 1))
            #expect(run.journal.count("decoded alone") == (connector.isConcurrent ? 1 : 0))
            #expect(run.journal.count("PREFILL_SELECTED") == (connector.isConcurrent ? 0 : 1))
            order.dispatched()
        }
        run.end()
        #expect(run.journal.count("stranded") == 0)
        #expect(await bench.isIdle())
    }

    @Test(
        "Without a prefill endpoint, or with none whose breaker lets go, it is exhausted at once",
        arguments: ConnectorName.allCases,
        OrchestrationSettings.Exhausted.allCases
    )
    func nobody(_ connector: ConnectorName, _ given: OrchestrationSettings.Exhausted) async throws {
        let policy = ConnectorRegistry.effective(given, connector)
        for prefills in [0, 2] {
            let bench = OrchestrationBench(
                connector,
                prefills: prefills,
                { $0.onExhausted = given },
                script: allGood
            )
            for number in 1..<(prefills + 1) { try bench.open("10.0.0.\(number)") }
            let run = try bench.run()
            switch policy {
            case .fail: #expect(await run.prepareError()?.word == "prefill exhausted: ")
            case .decodeLocal: #expect(try await run.prepare().prefill == nil)
            }
            #expect(bench.transport.sent.isEmpty)
        }
    }

    @Test("An endpoint with an open breaker is passed over; when its time is over one request tries it")
    func halfOpen() async throws {
        let bench = OrchestrationBench(.nixlv2, prefills: 2, script: allGood)
        try bench.open("10.0.0.1")
        #expect(try await bench.run().prepare().prefill?.address == "10.0.0.2")

        bench.clock.advance(by: .seconds(5))
        let endpoint = try bench.endpoint("10.0.0.1")
        do {
            // Another request tries it.
            let pass = endpoint.breaker.enter(at: bench.clock.now)
            #expect(try await bench.run().prepare().prefill?.address == "10.0.0.2")
            _ = consume pass
        }
        #expect(try bench.state("10.0.0.1") == .halfOpen)
        #expect(try await bench.run().prepare().prefill?.address == "10.0.0.1")
        #expect(try bench.state("10.0.0.1") == .closed)
    }

    @Test(
        "Who loses the race for the one try goes elsewhere, and a try that ends without a word is free again",
        arguments: [ConnectorName.nixlv2, .sglang]
    )
    func raceForTheTry(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, prefills: 2) { sent in
            sent.leg.stage == .prefill ? .silence : nil
        }
        try bench.open("10.0.0.1")
        bench.clock.advance(by: .seconds(5))
        let endpoint = try bench.endpoint("10.0.0.1")
        let run = try bench.run()
        let clock = bench.clock
        let holder = Holder()
        run.picker.didPick = { _ in
            // Between the choice and the try another request comes.
            if holder.pass == nil { holder.pass = endpoint.breaker.enter(at: clock.now) }
        }
        let client = bench.client
        let transport = bench.transport
        let leaving = Task {
            guard !connector.isConcurrent else { return }
            await transport.silent()
            client.open()
        }
        #expect(await run.prepareError()?.word == (connector.isConcurrent ? nil : "client gone"))
        await leaving.value
        #expect(bench.transport.sent(.prefill).map(\.leg.endpoint.address) == ["10.0.0.2"])
        #expect(!endpoint.breaker.allows(at: clock.now))
        holder.pass = nil
        #expect(endpoint.breaker.allows(at: clock.now))
        run.end()
        #expect(await bench.isIdle())
    }

    private final class Holder {
        var pass: BreakerPass?
    }
}

extension ConnectorRegistry {
    /// What becomes of an exhausted request: where decode endpoints cannot compute prompts, it fails whatever was asked for.
    fileprivate static func effective(
        _ policy: OrchestrationSettings.Exhausted,
        _ name: ConnectorName
    ) -> OrchestrationSettings.Exhausted {
        var settings = OrchestrationSettings()
        settings.connector = name
        return connector(settings).decodesAlone ? policy : .fail
    }
}
