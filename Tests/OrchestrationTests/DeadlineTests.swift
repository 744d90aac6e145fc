import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("The time of all sub-requests")
struct DeadlineTests {
    private static let timeout = Reply.failure(.timeout, breaker: true)

    @Test(
        "When it is over it is over, whatever is configured for exhaustion, and however many attempts are left",
        arguments: ConnectorName.allCases,
        OrchestrationSettings.Exhausted.allCases
    )
    func prefill(_ connector: ConnectorName, _ policy: OrchestrationSettings.Exhausted) async throws {
        for allowed in 1...3 {
            let clock = TestClock()
            let bench = OrchestrationBench(connector, clock: clock) {
                $0.onExhausted = policy
                $0.maxAttempts = allowed
                $0.deadline = .seconds(30)
            } script: { sent in
                guard sent.leg.stage == .prefill else { return nil }
                clock.advance(by: .seconds(30))
                return Self.timeout
            }
            let run = try bench.run { $0.requestID = "r" }
            #expect(await run.prepareError()?.word == "deadline")
            #expect(bench.transport.sent.count == 1)
            #expect(await bench.isIdle())
        }
    }

    @Test("An attempt may take its own time, or what is left of the whole", arguments: [ConnectorName.nixlv2, .sglang])
    func attempts(_ connector: ConnectorName) async throws {
        let clock = TestClock()
        let bench = OrchestrationBench(connector, clock: clock) {
            $0.deadline = .seconds(45)
        } script: { sent in
            guard sent.leg.stage == .prefill else { return nil }
            clock.advance(by: .seconds(30))
            return Self.timeout
        }
        #expect(await (try bench.run()).prepareError()?.word == "deadline")
        #expect(bench.transport.sent(.prefill).map(\.leg.timeout) == [.seconds(30), .seconds(15)])
    }

    @Test("It is over while images are encoded, too")
    func encode() async throws {
        let clock = TestClock()
        let bench = OrchestrationBench(.nixlv2, encoders: 3, clock: clock) {
            $0.encodeConnector = .example
            $0.onExhausted = .decodeLocal
        } script: { sent in
            guard sent.leg.stage == .encode else { return nil }
            clock.advance(by: .seconds(120))
            return Self.timeout
        }
        let run = try bench.run(EncodeLegTests.images(1)) { $0.encodes() }
        #expect(await run.prepareError()?.word == "deadline")
    }

    @Test("It is over while decodes are tried")
    func decode() async throws {
        let clock = TestClock()
        let bench = OrchestrationBench(.nixlv2, clock: clock) {
            $0.onExhausted = .decodeLocal
        } script: { sent in
            guard sent.leg.stage == .decode else { return nil }
            clock.advance(by: .seconds(120))
            return Self.timeout
        }
        #expect(await (try bench.run()).relayError()?.word == "deadline")
        #expect(bench.transport.sent(.decode).map(\.leg.timeout) == [.seconds(120)])
    }

    @Test("A decode whose head comes and whose body does not has failed when it is over")
    func firstByte() async throws {
        let clock = TestClock()
        let bench = OrchestrationBench(.nixlv2, decodes: 1, clock: clock) { sent in
            sent.leg.stage == .decode ? .headOnly(200) : nil
        }
        let run = try bench.run()
        let transport = bench.transport
        let time = Task {
            await transport.silent()
            clock.advance(by: .seconds(120))
            clock.alarm.open()
        }
        #expect(await run.relayError()?.word == "deadline")
        await time.value
        #expect(run.journal.summary.last == "decode 10.0.1.1 #1 timeout")
        #expect(await bench.isIdle())
    }

    @Test("A deadline that has passed before the first leg lets none begin", arguments: ConnectorName.allCases)
    func passed(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, { $0.onExhausted = .decodeLocal }, script: allGood)
        let run = try bench.run()
        bench.clock.advance(by: .seconds(121))
        #expect(await run.prepareError()?.word == "deadline")
        #expect(await run.relayError()?.word == "deadline")
        #expect(bench.transport.sent.isEmpty)
    }
}
