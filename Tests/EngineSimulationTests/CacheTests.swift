import Bytes
import EngineSimulation
import Testing

@Suite("KV memory and the prefix cache")
struct CacheTests {
    @Test("A prompt that comes again is cached in whole blocks, but for its last token")
    func findsPrefixes() throws {
        var run = Run()
        let first = try run.submit(request(prompt: 100))
        run.finish()
        let again = try run.submit(request(prompt: 100))
        run.finish()
        // 96 tokens fill six blocks: were all of them taken from the cache, nothing would be left to compute.
        let exact = try run.submit(request(prompt: 96))
        run.finish()
        let other = try run.submit(request(prompt: 100, first: 1))
        run.finish()
        #expect([first, again, exact, other].map { run.cachedTokens($0) } == [0, 96, 80, 0])
        #expect(run.engine.statistics.prefixCacheQueries == 396)
        #expect(run.engine.statistics.prefixCacheHits == 176)
    }

    @Test("What was generated is found by a prompt that continues it")
    func cachesOutput() throws {
        var run = Run()
        var turn = request(prompt: 16, output: 16)
        _ = try run.submit(turn)
        run.finish()
        turn.promptTokens += turn.outputTokens + [1, 2, 3]
        let next = try run.submit(turn)
        run.finish()
        #expect(run.cachedTokens(next) == 32)
    }

    @Test("Adapters and cache salts do not share blocks")
    func separates() throws {
        var run = Run()
        let requests = [
            request(prompt: 100), request(prompt: 100, adapter: "a"), request(prompt: 100, cacheSalt: "s"),
            request(prompt: 100, cacheSalt: "t"), request(prompt: 100, cacheSalt: "s"),
        ]
        let cached = try requests.map { request in
            let id = try run.submit(request)
            run.finish()
            return run.cachedTokens(id)
        }
        #expect(cached == [0, 0, 0, 0, 96])
    }

    @Test("The least recently used prefix is the first to be evicted")
    func evicts() throws {
        // Room for three prompts of four blocks, and one block more for what is generated.
        var run = Run { $0.kvCacheSize = 13 }
        func cached(_ first: UInt32) throws -> Int? {
            let id = try run.submit(request(prompt: 64, first: first))
            run.finish()
            return run.cachedTokens(id)
        }
        #expect(try cached(1000) == 0)
        #expect(try cached(2000) == 0)
        #expect(try cached(3000) == 0)
        #expect(try cached(1000) == 48)
        #expect(try cached(4000) == 0)
        #expect(try cached(1000) == 48)
        #expect(try cached(2000) == 0)
    }

    @Test("Usage counts what running requests hold, shared blocks once, and goes back to zero")
    func countsUsage() throws {
        var run = Run { $0.kvCacheSize = 100 }
        _ = try run.submit(request(prompt: 160, output: 10))
        #expect(run.engine.statistics.kvCacheUsage == 0.1)
        _ = try run.submit(request(prompt: 160, output: 10))
        #expect(run.engine.statistics.usedBlocks == 10)
        run.advance(by: .milliseconds(100))
        // Each has a block of its own for what it generates.
        #expect(run.engine.statistics.usedBlocks == 12)
        run.finish()
        let statistics = run.engine.statistics
        #expect(statistics.kvCacheUsage == 0)
        #expect(statistics.usedBlocks == 0)
        #expect(statistics.idleBlocks == 10)
        run.engine.resetPrefixCache()
        #expect(run.engine.statistics.idleBlocks == 0)
    }

    @Test("A request whose prompt has no room waits, and those behind it with it")
    func waitsForRoom() throws {
        var run = Run { $0.kvCacheSize = 10 }
        _ = try run.submit(request(prompt: 128))
        let large = try run.submit(request(prompt: 100, first: 1000))
        let small = try run.submit(request(prompt: 10, first: 2000))
        #expect(run.engine.statistics.running == 1)
        run.finish()
        #expect(run.started(large) == .milliseconds(100))
        #expect(run.started(small) == .milliseconds(100))
    }

    @Test("When memory runs out while decoding, the latest request gives way and is finished later")
    func preempts() throws {
        var run = Run { $0.kvCacheSize = 8 }
        let old = try run.submit(request(prompt: 60, output: 40))
        let young = try run.submit(request(prompt: 60, first: 1000, output: 40))
        run.finish()
        #expect(run.engine.statistics.preemptions > 0)
        #expect(run.record(old)?.preemptions == 0)
        #expect(run.record(young)?.preemptions == 1)
        #expect(run.tokens(old) == 40)
        #expect(run.tokens(young) == 40)
        #expect(run.engine.statistics.usedBlocks == 0)
    }

    @Test("Without prefix caching nothing is found again")
    func cachesNothingWhenOff() throws {
        var run = Run { $0.cachesPrefixes = false }
        for _ in 0..<2 {
            let id = try run.submit(request(prompt: 100))
            run.finish()
            #expect(run.cachedTokens(id) == 0)
        }
        #expect(run.engine.statistics.idleBlocks == 0)
    }

    @Test("Whatever comes, memory is never overdrawn and comes back", arguments: 0..<8 as Range<UInt64>)
    func keepsItsBooks(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var run = Run {
            $0.kvCacheSize = 40
            $0.maxNumSeqs = 6
            $0.maxLoras = 2
            $0.seed = seed
        }
        var ids: [EngineRequestID] = []
        for _ in 0..<400 {
            let made = request(
                prompt: Int.random(in: 1...300, using: &random),
                first: UInt32.random(in: 0..<4, using: &random),
                output: Int.random(in: 0...100, using: &random),
                adapter: ["a", "b", "c", nil].randomElement(using: &random) ?? nil
            )
            ids.append(try run.submit(made))
            run.advance(by: .milliseconds(Int.random(in: 0...400, using: &random)))
            if Bool.random(using: &random), let id = ids.randomElement(using: &random) {
                run.engine.abort(id, at: run.now)
            }
            let statistics = run.engine.statistics
            #expect(statistics.usedBlocks + statistics.idleBlocks <= 40)
            #expect(statistics.running <= 6)
            #expect(statistics.runningAdapters.count <= 2)
        }
        run.finish()
        let statistics = run.engine.statistics
        #expect(statistics.usedBlocks == 0)
        #expect(statistics.running == 0 && statistics.waiting == 0)
        #expect(statistics.finishedByLength + statistics.aborted == 400)
    }
}

@Suite("Tokens")
struct TokenizerTests {
    @Test(
        "A text's tokens put together give the text",
        arguments: ["", "a", "hello, world", "  two  spaces\n\nand lines ", "日本語のテキスト", "emoji 👩‍👩‍👧 and é"]
    )
    func losesNothing(text: String) {
        let tokens = Tokenizer.tokens(of: text)
        #expect(tokens.map(\.text).joined() == text)
        #expect(tokens.map(\.number) == Tokenizer.numbers(of: text))
        #expect(tokens.allSatisfy { !$0.text.isEmpty })
    }

    @Test("Texts with a common beginning of whole words have tokens in common")
    func sharesPrefixes() {
        let one = Tokenizer.numbers(of: "the quick brown fox jumps")
        let two = Tokenizer.numbers(of: "the quick brown dog sleeps")
        let common = Tokenizer.numbers(of: "the quick brown")
        #expect(one.starts(with: common))
        #expect(two.starts(with: common))
        #expect(one != two)
    }

    @Test("A token has about four bytes")
    func hasTheRightSize() {
        let text = String(repeating: "Some ordinary English words, and a few more of them. ", count: 100)
        let bytesPerToken = Double(text.utf8.count) / Double(Tokenizer.numbers(of: text).count)
        #expect((3...4).contains(bytesPerToken))
    }
}
