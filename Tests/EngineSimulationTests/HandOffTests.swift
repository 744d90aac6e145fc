import Bytes
import EngineSimulation
import Testing

private func time(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: milliseconds * 1_000_000)
}

@Suite("Hand-off of KV")
struct HandOffTests {
    private func engine(_ change: (inout EngineConfiguration) -> Void = { _ in }) -> Engine {
        var configuration = EngineConfiguration()
        configuration.kvCacheSize = 10
        change(&configuration)
        return Engine(configuration)
    }

    /// Runs a request to its end.
    private func run(_ engine: inout Engine, _ request: EngineRequest, at start: MonotonicTime) throws
        -> EngineRequestID
    {
        let id = try engine.submit(request, at: start)
        while let next = engine.nextEventTime { _ = engine.advance(to: next) }
        return id
    }

    private func prefill(tokens: Int = 40) -> EngineRequest {
        EngineRequest(promptTokens: Array(0..<UInt32(tokens)), outputTokens: [7], keepsBlocks: true)
    }

    @Test("The blocks of a finished prefill stay pinned until they are released, and are found in the cache afterwards")
    func keepsBlocks() throws {
        var engine = engine()
        let id = try run(&engine, prefill(), at: time(0))
        #expect(engine.statistics.running == 0)
        #expect(engine.statistics.usedBlocks == 3)
        #expect(engine.keptBlocks(id) == 3)
        engine.release(id, at: time(1))
        engine.release(id, at: time(1))
        #expect(engine.statistics.usedBlocks == 0)
        #expect(engine.statistics.idleBlocks == 2)
        #expect(engine.cachedPrefix(of: engine.promptBlocks(of: prefill())) == 2)
    }

    @Test("Pinned blocks keep others waiting, who start when they are released")
    func waitsForPinned() throws {
        var engine = engine()
        let first = try run(&engine, prefill(tokens: 100), at: time(0))
        _ = try engine.submit(EngineRequest(promptTokens: Array(500..<600), outputTokens: [1]), at: time(1))
        #expect(engine.statistics.waiting == 1)
        engine.release(first, at: time(2))
        #expect(engine.statistics.running == 1)
    }

    @Test("A prefill that is aborted keeps nothing")
    func abortsFreeBlocks() throws {
        var engine = engine { $0.latency.timeToFirstToken = .seconds(1) }
        let id = try engine.submit(prefill(), at: time(0))
        engine.abort(id, at: time(1))
        #expect(engine.statistics.usedBlocks == 0)
        #expect(engine.keptBlocks(id) == 0)
    }

    @Test(
        "Fetched tokens take the transfer's time in place of the prefill's, those in the cache neither",
        arguments: [(0, 0, 100), (100, 0, 3), (60, 0, 43), (100, 32, 3), (200, 0, 3)]
    )
    func fetches(external: Int, cached: Int, milliseconds: UInt64) throws {
        var engine = engine {
            $0.latency.prefillTimePerToken = .milliseconds(1)
            $0.latency.transferLatency = .milliseconds(3)
        }
        let prompt = Array(0..<UInt32(100))
        if cached > 0 {
            _ = try run(&engine, EngineRequest(promptTokens: Array(prompt[..<cached]), outputTokens: []), at: time(0))
        }
        let before = engine.statistics
        let start = time(1000)
        _ = engine.advance(to: start)
        _ = try engine.submit(
            EngineRequest(promptTokens: prompt, outputTokens: [1], externalTokens: external),
            at: start
        )
        _ = engine.advance(to: start)
        #expect(engine.nextEventTime == time(1000 + milliseconds))
        #expect(engine.statistics.externalTokens == min(external, 100) - (external > 0 ? cached : 0))
        #expect(engine.statistics.prefixCacheHits - before.prefixCacheHits == cached)
    }

    // MARK: Leases

    private func ledger(until end: MonotonicTime) throws -> (KVLedger, EngineRequestID) {
        var engine = engine()
        let blocks = try run(&engine, prefill(), at: time(0))
        var ledger = KVLedger(engineID: "e1")
        ledger.pin("a", blocks, tokens: 40, until: end)
        return (ledger, blocks)
    }

    @Test("A lease is granted to one decode of the right engine")
    func grantsOnce() throws {
        var (ledger, blocks) = try ledger(until: time(30))
        #expect(ledger.claim("a", engineID: "e0", until: time(50)) == .otherEngine)
        #expect(ledger.claim("b", engineID: "e1", until: time(50)) == .unknown)
        #expect(ledger.claim("a", engineID: "e1", until: time(50)) == .granted(tokens: 40))
        #expect(ledger.claim("a", engineID: "e1", until: time(50)) == .taken)
        #expect(ledger.finish("a", .redeemed) == blocks)
        #expect(ledger.finish("a", .redeemed) == nil)
        #expect(ledger.claim("a", engineID: "e1", until: time(50)) == .ended(.redeemed))
        #expect(ledger.nextExpiry == nil)
    }

    @Test("A lease ends when its time has come, later after every heartbeat")
    func ends() throws {
        var (ledger, blocks) = try ledger(until: time(30))
        #expect(ledger.expire(at: time(29)).isEmpty == true)
        #expect(ledger.claim("a", engineID: nil, until: time(20)) == .granted(tokens: 40))
        // A claim never shortens.
        #expect(ledger.expire(at: time(29)).isEmpty == true)
        #expect(ledger.extend("a", until: time(45)) == true)
        #expect(ledger.expire(at: time(30)).isEmpty == true)
        #expect(ledger.nextExpiry == time(45))
        #expect(ledger.expire(at: time(45)).map(\.blocks) == [blocks])
        #expect(ledger.extend("a", until: time(60)) == false)
        #expect(ledger.claim("a", engineID: "e1", until: time(60)) == .ended(.expired))
    }

    @Test("What has ended is remembered within bounds")
    func forgets() throws {
        var (ledger, blocks) = try ledger(until: time(30))
        for number in 0..<5000 {
            ledger.pin("\(number)", blocks, tokens: 1, until: time(30))
            _ = ledger.finish("\(number)", .redeemed)
        }
        #expect(ledger.claim("0", engineID: nil, until: time(1)) == .unknown)
        #expect(ledger.claim("4999", engineID: nil, until: time(1)) == .ended(.redeemed))
        #expect(ledger.count == 1)
    }

    // MARK: Meetings

    @Test("A prefill and a decode meet once, whichever comes first, and nothing is left", arguments: [true, false])
    func meets(prefillFirst: Bool) {
        var meetings = Rendezvous<Int>()
        if prefillFirst {
            #expect(meetings.announce("a") == true)
            #expect(meetings.announce("a") == false)
            #expect(meetings.ready("a", tokens: 5) == nil)
            guard case .ready(tokens: 5) = meetings.join("a", 1) else { return #expect(Bool(false)) }
        } else {
            guard case .waits = meetings.join("a", 1) else { return #expect(Bool(false)) }
            guard case .taken = meetings.join("a", 2) else { return #expect(Bool(false)) }
            #expect(meetings.announce("a") == true)
            #expect(meetings.ready("a", tokens: 5) == 1)
        }
        #expect(meetings.count == 0)
    }

    @Test("Who leaves leaves the other waiting")
    func leaves() {
        var meetings = Rendezvous<Int>()
        _ = meetings.announce("a")
        _ = meetings.join("a", 1)
        meetings.prefillLeft("a")
        #expect(meetings.count == 1)
        #expect(meetings.decodeLeft("a") == 1)
        #expect(meetings.count == 0)
        _ = meetings.announce("b")
        #expect(meetings.decodeLeft("b") == nil)
        meetings.prefillLeft("b")
        #expect(meetings.count == 0)
    }
}
