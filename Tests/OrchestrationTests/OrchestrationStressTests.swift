import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Many requests at a time")
struct OrchestrationStressTests {
    /// Requests over one pool, whose engines fail now and then in every way; some clients leave.
    private func storm(_ connector: ConnectorName) async throws {
        // Engines are silent for long, but not for ever.
        let end = Gate()
        let faults: [Reply] = [
            .refused, .failure(.reset, breaker: true), .failure(.reset), .failure(.timeout, breaker: true),
            .answer(500, ""),
            .answer(503, ""), .answer(429, ""), .failure(.noPermit), .answer(200, "{"), .answer(404, ""),
            .after(end, .failure(.timeout, breaker: true)),
        ]
        let draws = Lock(SeededGenerator(seed: 5))
        let bench = OrchestrationBench(connector, prefills: 4, decodes: 4, encoders: 2) {
            $0.encodeConnector = .nixl
            $0.onExhausted = .decodeLocal
        } script: { sent in
            let draw = draws.withLock { $0.next() }
            let isCompanion = sent.leg.stage == .prefill && connector.isConcurrent && sent.leg.method == "POST"
            if isCompanion, draw % 4 > 1 { return .after(end, .failure(.timeout, breaker: true)) }
            if draw % 4 == 0 { return faults[Int(draw >> 8) % faults.count] }
            // A prefill beside its decode ends some time.
            return isCompanion ? .answer(200, "{}") : nil
        }
        // Decodes whose client has left are called off after a while: here at once.
        if connector == .trtllm { bench.clock.alarm.open() }
        let orchestrator = bench.orchestrator
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<240 {
                let client = Gate()
                nonisolated(unsafe) let run = try bench.run(EncodeLegTests.images(number % 3)) {
                    $0.encodes()
                    $0.client = client
                    $0.requestID = "r-\(number % 120)"
                    $0.seed = UInt64(number)
                }
                group.addTask {
                    let leaving = Task {
                        for _ in 0..<(number % 50 * 10) { await Task.yield() }
                        client.open()
                    }
                    if let relayed = try? await run.relay() {
                        while (try? await relayed.rest?.next()) != nil {}
                        orchestrator.conclude(relayed.order, isDecoded: number % 2 == 0)
                        orchestrator.decodeEnded(relayed.order, failed: number % 7 == 0)
                    }
                    orchestrator.end(run.request)
                    await leaving.value
                    // Every leg was reported once, and none under a number that another had.
                    let made = run.journal.summary.filter { $0.hasPrefix("prefill") && !$0.hasSuffix("no_permit") }
                    #expect(Set(made.map { $0.split(separator: " ")[2] }).count == made.count)
                }
            }
            try await group.waitForAll()
        }
        bench.clock.alarm.open()
        end.open()
        #expect(await eventually { bench.inFlight == 0 && bench.transport.bodiesOpen == 0 })
        // No one try of a half-open breaker is held by anybody.
        bench.clock.advance(by: .seconds(6))
        for endpoint in bench.pool.snapshot.endpoints { #expect(endpoint.breaker.allows(at: bench.clock.now)) }
    }

    @Test("Nothing is left of them, whatever fails and whoever leaves", arguments: ConnectorName.allCases)
    func nothingIsLeft(_ connector: ConnectorName) async throws {
        try await storm(connector)
    }
}
