import Bytes
import EngineSimulation
import Testing

/// Lets an engine run and keeps what it says.
struct Run {
    var engine: Engine
    var events: [EngineEvent] = []
    var now = MonotonicTime(nanoseconds: 0)

    init(_ change: (inout EngineConfiguration) -> Void = { _ in }) {
        var configuration = EngineConfiguration()
        configuration.latency.timeToFirstToken = .milliseconds(100)
        configuration.latency.interTokenLatency = .milliseconds(10)
        change(&configuration)
        engine = Engine(configuration)
    }

    mutating func submit(_ request: EngineRequest) throws -> EngineRequestID {
        let id = try engine.submit(request, at: now)
        advance(by: .zero)
        return id
    }

    mutating func advance(by duration: Duration) {
        now = now + duration
        events += engine.advance(to: now)
    }

    /// Until nothing is left to happen.
    mutating func finish() {
        while let next = engine.nextEventTime {
            now = max(now, next)
            events += engine.advance(to: now)
        }
    }

    func time(of id: EngineRequestID, _ isKind: (EngineEvent.Kind) -> Bool) -> Duration? {
        events.first { $0.id == id && isKind($0.kind) }?.time.elapsed(since: MonotonicTime(nanoseconds: 0))
    }

    func started(_ id: EngineRequestID) -> Duration? {
        time(of: id) { if case .started = $0 { true } else { false } }
    }

    func finished(_ id: EngineRequestID) -> Duration? {
        time(of: id) { if case .finished = $0 { true } else { false } }
    }

    func firstToken(_ id: EngineRequestID) -> Duration? {
        time(of: id) { $0 == .firstToken }
    }

    func cachedTokens(_ id: EngineRequestID) -> Int? {
        for event in events where event.id == id {
            if case .started(let tokens) = event.kind { return tokens }
        }
        return nil
    }

    func record(_ id: EngineRequestID) -> EngineRequestRecord? {
        for event in events where event.id == id {
            if case .finished(_, let record) = event.kind { return record }
        }
        return nil
    }

    func tokens(_ id: EngineRequestID) -> Int {
        events.count { event in
            guard event.id == id else { return false }
            return switch event.kind {
            case .firstToken, .token: true
            default: false
            }
        }
    }
}

/// A request whose prompt is `count` tokens beginning with `first`.
func request(
    prompt count: Int,
    first: UInt32 = 0,
    output: Int = 1,
    adapter: String? = nil,
    cacheSalt: String? = nil
) -> EngineRequest {
    EngineRequest(
        promptTokens: (0..<UInt32(count)).map { first &+ $0 },
        outputTokens: (0..<UInt32(output)).map { 0xFFFF_0000 &+ $0 },
        adapter: adapter,
        cacheSalt: cacheSalt
    )
}

@Suite("The batch and the queue")
struct BatchTests {
    @Test("A request alone takes the time to its first token and one latency for each further one")
    func takesItsTime() throws {
        var run = Run()
        let id = try run.submit(request(prompt: 20, output: 4))
        run.finish()
        #expect(run.firstToken(id) == .milliseconds(100))
        #expect(run.finished(id) == .milliseconds(130))
        #expect(run.tokens(id) == 4)
        let record = try #require(run.record(id))
        #expect(record.promptTokens == 20)
        #expect(record.generatedTokens == 4)
        #expect(record.ended.elapsed(since: record.arrived) == .milliseconds(130))
        #expect(run.engine.statistics.finishedByLength == 1)
        #expect(run.engine.nextEventTime == nil)
    }

    @Test("No more than max-num-seqs run; the others wait and start in the order of their arrival")
    func limitsTheBatch() throws {
        var run = Run { $0.maxNumSeqs = 2 }
        let ids = try (0..<5).map { try run.submit(request(prompt: 20, first: UInt32($0) * 1000)) }
        #expect(run.engine.statistics.running == 2)
        #expect(run.engine.statistics.waiting == 3)
        run.finish()
        #expect(ids.map { run.started($0) } == [0, 0, 100, 100, 200].map { Duration.milliseconds($0) })
        #expect(run.engine.statistics.running == 0)
        #expect(run.engine.statistics.waiting == 0)
    }

    @Test("A full waiting queue turns requests away")
    func limitsTheQueue() throws {
        var run = Run {
            $0.maxNumSeqs = 1
            $0.maxWaitingQueueLength = 2
        }
        for number in 0..<3 { _ = try run.submit(request(prompt: 20, first: UInt32(number) * 1000)) }
        #expect(throws: EngineRejection.queueFull) { try run.engine.submit(request(prompt: 20), at: run.now) }
        #expect(run.engine.statistics.waiting == 2)
        #expect(run.engine.statistics.rejected == 1)
        run.finish()
        #expect(run.engine.statistics.finishedByLength == 3)
    }

    @Test("A request that can never fit is turned away", arguments: [(1024, 1024), (4096, 64)])
    func refusesWhatIsTooLong(maxModelLen: Int, blocks: Int) throws {
        var run = Run {
            $0.maxModelLen = maxModelLen
            $0.kvCacheSize = blocks
        }
        #expect(throws: EngineRejection.contextTooLong(tokens: 1025, limit: 1024)) {
            try run.engine.submit(request(prompt: 1000, output: 25), at: run.now)
        }
        _ = try run.submit(request(prompt: 1000, output: 24))
    }

    @Test("Aborting a running request frees its slot and its memory, and nothing more is heard of it")
    func abortsRunning() throws {
        var run = Run { $0.maxNumSeqs = 1 }
        let first = try run.submit(request(prompt: 100, output: 50))
        let second = try run.submit(request(prompt: 20, first: 5000))
        run.advance(by: .milliseconds(125))
        let record = run.engine.abort(first, at: run.now)
        #expect(record?.generatedTokens == 3)
        run.finish()
        #expect(run.tokens(first) == 3)
        #expect(run.finished(first) == nil)
        #expect(run.started(second) == .milliseconds(125))
        #expect(run.engine.statistics.usedBlocks == 0)
        #expect(run.engine.statistics.aborted == 1)
        #expect(run.engine.abort(first, at: run.now) == nil)
    }

    @Test("Aborting a waiting request takes it out of the queue")
    func abortsWaiting() throws {
        var run = Run { $0.maxNumSeqs = 1 }
        _ = try run.submit(request(prompt: 20))
        let waiting = try run.submit(request(prompt: 20, first: 1000))
        run.engine.abort(waiting, at: run.now)
        #expect(run.engine.statistics.waiting == 0)
        run.finish()
        #expect(run.started(waiting) == nil)
    }

    @Test("A request without output ends with its prefill and has no first token")
    func onlyPrefills() throws {
        var run = Run()
        let id = try run.submit(request(prompt: 20, output: 0))
        run.finish()
        #expect(run.finished(id) == .milliseconds(100))
        #expect(run.tokens(id) == 0)
    }

    @Test("No more adapters run than max-loras; requests of others pass those that wait for one")
    func limitsAdapters() throws {
        var run = Run()
        _ = try run.submit(request(prompt: 20, adapter: "a"))
        let other = try run.submit(request(prompt: 20, adapter: "b"))
        let same = try run.submit(request(prompt: 20, first: 99, adapter: "a"))
        let base = try run.submit(request(prompt: 20))
        let statistics = run.engine.statistics
        #expect(statistics.runningAdapters == ["a"])
        #expect(statistics.waitingAdapters == ["b"])
        #expect(statistics.deferred == 1)
        #expect(run.started(same) == .zero)
        #expect(run.started(base) == .zero)
        run.finish()
        #expect(run.started(other) == .milliseconds(100))
        #expect(run.engine.statistics.runningAdapters.isEmpty)
    }
}

@Suite("Time")
struct LatencyTests {
    @Test("With per-token prefill the first token takes the overhead and the time of the uncached tokens")
    func prefillsByTokens() throws {
        var run = Run {
            $0.latency = LatencyModel()
            $0.latency.calculator = .perToken
            $0.latency.prefillOverhead = .milliseconds(5)
            $0.latency.prefillTimePerToken = .milliseconds(1)
        }
        let cold = try run.submit(request(prompt: 100))
        run.finish()
        #expect(run.firstToken(cold) == .milliseconds(105))
        let before = run.now
        let warm = try run.submit(request(prompt: 100))
        run.finish()
        // Six blocks of sixteen tokens are cached.
        #expect(run.cachedTokens(warm) == 96)
        #expect(run.record(warm)?.firstToken?.elapsed(since: before) == .milliseconds(9))
    }

    @Test(
        "The load factor grows linearly from one request to a full batch",
        arguments: [(1, 1.0), (2, 1.5), (3, 2.0), (4, 2.5), (5, 3.0)]
    )
    func growsWithLoad(running: Int, factor: Double) {
        var latency = LatencyModel()
        latency.timeFactorUnderLoad = 3
        #expect(latency.loadFactor(running: running, capacity: 5) == factor)
        #expect(latency.loadFactor(running: 1, capacity: 1) == 1)
    }

    @Test("Tokens of a full batch come more slowly than those of a request alone")
    func slowsDown() throws {
        func gap(requests: Int) throws -> Duration? {
            var run = Run { $0.latency.timeFactorUnderLoad = 2 }
            for number in 0..<requests {
                _ = try run.submit(request(prompt: 20, first: UInt32(number) * 999, output: 2))
            }
            run.finish()
            for event in run.events {
                if case .token(let after) = event.kind { return after }
            }
            return nil
        }
        #expect(try gap(requests: 1) == .milliseconds(10))
        #expect(try gap(requests: 5) == .milliseconds(20))
    }

    @Test("Jittered times stay within 70 % of their mean")
    func boundsJitter() throws {
        var run = Run {
            $0.latency.interTokenLatencyDeviation = .milliseconds(3)
            $0.maxModelLen = 100_000
            $0.kvCacheSize = 10_000
        }
        _ = try run.submit(request(prompt: 20, output: 20_000))
        run.finish()
        var gaps: [Double] = []
        for event in run.events {
            if case .token(let after) = event.kind { gaps.append(after.seconds) }
        }
        #expect(gaps.allSatisfy { $0 >= 0.003 && $0 <= 0.017 })
        let mean = gaps.reduce(0, +) / Double(gaps.count)
        #expect(abs(mean - 0.01) < 0.0005)
        #expect(Set(gaps).count > 1000)
    }

    @Test("One seed gives one run, another seed another")
    func isDeterministic() throws {
        func events(seed: UInt64) throws -> [EngineEvent] {
            var run = Run {
                $0.seed = seed
                $0.latency.interTokenLatencyDeviation = .milliseconds(3)
            }
            for number in 0..<20 {
                _ = try run.submit(request(prompt: 30, first: UInt32(number % 3) * 7, output: 20))
                run.advance(by: .milliseconds(13))
            }
            run.finish()
            return run.events
        }
        #expect(try events(seed: 1) == events(seed: 1))
        #expect(try events(seed: 1) != events(seed: 2))
    }

    @Test("Without any latency a request ends when it is submitted")
    func needsNoTime() throws {
        var run = Run { $0.latency = LatencyModel() }
        let id = try run.submit(request(prompt: 20, output: 100))
        #expect(run.finished(id) == .zero)
        #expect(run.tokens(id) == 100)
    }
}
