import Bytes
import Pool
import Scheduling
import Testing

/// What the index should hold, without any cleverness: per endpoint, blocks in the order of their last use, the newest first.
private struct Model {
    private var held: [Int: [UInt64]] = [:]

    mutating func record(_ hashes: [UInt64], endpoint: Int, capacity: Int) {
        let used = Array(hashes.prefix(capacity))
        let others = held[endpoint, default: []].filter { !used.contains($0) }
        held[endpoint] = Array((used + others).prefix(capacity))
    }

    mutating func remove(endpoint: Int) { held[endpoint] = nil }

    func match(_ hashes: [UInt64], endpoint: Int) -> Int32 {
        let blocks = Set(held[endpoint, default: []])
        return Int32(hashes.prefix { blocks.contains($0) }.count)
    }

    var entries: Int { held.values.reduce(0) { $0 + $1.count } }
}

extension PrefixIndex {
    fileprivate func record(_ hashes: [UInt64], _ pool: Pool, _ index: Int, capacity: Int = 1_000) {
        record(hashes, endpoint: pool.snapshot.endpoints[index].number, capacity: capacity)
    }
}

@Suite("The prefix index")
struct PrefixIndexTests {
    @Test("A match is the number of blocks from the first on that the endpoint holds")
    func contiguous() {
        let pool = makePool(count: 4)
        let index = PrefixIndex()
        let a = prompt(10, seed: 1)
        let b = Array(a.prefix(4)) + prompt(6, seed: 2)
        index.record(a, pool, 0)
        index.record(b, pool, 1)
        index.record(Array(a.prefix(1)), pool, 2)
        #expect(index.match(a, pool.everyone) == [10, 4, 1, 0])
        #expect(index.match(b, pool.everyone) == [4, 10, 1, 0])
        #expect(index.match(Array(a.prefix(3)), pool.everyone) == [3, 3, 1, 0])
        #expect(index.match(prompt(5, seed: 9), pool.everyone) == [0, 0, 0, 0])
        #expect(index.match([], pool.everyone) == [0, 0, 0, 0])
        // What follows other blocks is nobody's beginning.
        #expect(index.match(prompt(1, seed: 9) + a, pool.everyone) == [0, 0, 0, 0])
    }

    @Test(
        "What an endpoint holds of a long prompt is known exactly where one continues the other, and to within 3 % where they part",
        arguments: [1, 63, 64, 65, 66, 67, 127, 128, 131, 500, 1_000, 2_047, 2_048, 5_000]
    )
    func long(length: Int) {
        let pool = makePool(count: 3)
        let index = PrefixIndex()
        let held = prompt(length, seed: 1)
        let other = Array(held.prefix(length / 3)) + prompt(40, seed: 2)
        index.record(held, pool, 0, capacity: 10_000)
        index.record(other, pool, 1, capacity: 10_000)
        #expect(index.match(held, pool.everyone)[0] == Int32(length))
        let longer = index.match(held + prompt(300, seed: 3), pool.everyone)
        #expect(longer[0] == Int32(length))
        for parting in [length / 2, length - length / 5, length - 1] {
            let matched = index.match(Array(held.prefix(parting)) + prompt(100, seed: 4), pool.everyone)
            #expect(matched[0] <= Int32(parting) && Int(matched[0]) >= parting - parting / 32)
            let shared = min(parting, length / 3)
            #expect(matched[1] <= Int32(shared) && Int(matched[1]) >= shared - shared / 32)
            #expect(matched[2] == 0)
        }
        index.remove(endpoint: pool.snapshot.endpoints[0].number)
        index.remove(endpoint: pool.snapshot.endpoints[1].number)
        #expect(index.statistics.blocks == 0 && index.statistics.entries == 0)
    }

    @Test("Long prompts are forgotten from the end on, and never more is held than the capacity")
    func longEviction() {
        let pool = makePool(count: 1)
        let index = PrefixIndex()
        let held = prompt(900, seed: 1)
        index.record(held, pool, 0, capacity: 1_000)
        #expect(index.statistics.entries == 900)
        var before: Int32 = 900
        for seed in 2..<12 {
            index.record(prompt(80, seed: UInt64(seed)), pool, 0, capacity: 1_000)
            let entries = index.statistics.entries
            #expect(entries <= 1_000 && entries > 1_000 - 32)
            let now = index.match(held, pool.everyone)[0]
            #expect(now <= before && Int(now) <= 1_000 - 80 * (seed - 1))
            before = now
        }
    }

    @Test("A prompt of a single block matches")
    func single() {
        let pool = makePool(count: 2)
        let index = PrefixIndex()
        index.record([7], pool, 1)
        #expect(index.match([7], pool.everyone) == [0, 1])
        #expect(index.match([0], pool.everyone) == [0, 0])
        index.record([0], pool, 0)
        #expect(index.match([0], pool.everyone) == [1, 0])
    }

    @Test("Only candidates are matched, by their index in the snapshot")
    func candidatesOnly() {
        let pool = makePool(count: 3)
        let index = PrefixIndex()
        let blocks = prompt(5, seed: 1)
        for endpoint in 0..<3 { index.record(blocks, pool, endpoint) }
        let few = Candidates(snapshot: pool.snapshot, indexes: [2, 0])
        #expect(index.match(blocks, few) == [5, 0, 5])
    }

    @Test("The least recently used blocks are forgotten, the end of a prompt before its beginning")
    func eviction() {
        let pool = makePool(count: 1)
        let index = PrefixIndex()
        let (a, b, c) = (prompt(4, seed: 1), prompt(4, seed: 2), prompt(4, seed: 3))
        index.record(a, pool, 0, capacity: 10)
        index.record(b, pool, 0, capacity: 10)
        index.record(a, pool, 0, capacity: 10)
        index.record(c, pool, 0, capacity: 10)
        #expect(index.match(a, pool.everyone) == [4])
        #expect(index.match(b, pool.everyone) == [2])
        #expect(index.match(c, pool.everyone) == [4])
        #expect(index.statistics.entries == 10)
    }

    @Test("Of a prompt longer than the capacity the beginning is kept, and a smaller capacity shrinks what is held")
    func capacity() {
        let pool = makePool(count: 1)
        let index = PrefixIndex()
        let blocks = prompt(20, seed: 1)
        index.record(blocks, pool, 0, capacity: 8)
        #expect(index.match(blocks, pool.everyone) == [8])
        index.record(prompt(1, seed: 2), pool, 0, capacity: 4)
        #expect(index.match(blocks, pool.everyone) == [3])
        #expect(index.statistics.entries == 4)
        index.record(blocks, pool, 0, capacity: 0)
        #expect(index.statistics.entries == 4)
    }

    @Test("A removed endpoint leaves nothing, and its place is free for another")
    func removal() {
        let pool = makePool(count: 3)
        let index = PrefixIndex()
        let blocks = prompt(50, seed: 1)
        for endpoint in 0..<3 { index.record(blocks, pool, endpoint) }
        index.remove(endpoint: pool.snapshot.endpoints[1].number)
        #expect(index.match(blocks, pool.everyone) == [50, 0, 50])
        #expect(index.statistics.endpoints == 2)
        #expect(index.statistics.entries == 100)
        index.remove(endpoint: 12_345)
        pool.replaceEndpoints(descriptions(4))
        index.record(prompt(3, seed: 2), pool, 3)
        #expect(index.match(prompt(3, seed: 2), pool.everyone) == [0, 0, 0, 3])
        #expect(index.match(blocks, pool.everyone) == [50, 0, 50, 0])
    }

    @Test("Pruning forgets the endpoints that have left the pool, and the memory with them")
    func pruning() {
        let pool = makePool(count: 6)
        let index = PrefixIndex()
        let empty = index.statistics
        for endpoint in 0..<6 { index.record(prompt(500, seed: UInt64(endpoint)), pool, endpoint) }
        let full = index.statistics
        #expect(full.entries == 3_000 && full.blocks > 0)
        pool.replaceEndpoints(Array(descriptions(6)[2..<4]))
        index.prune(keeping: pool.snapshot)
        #expect(index.statistics.entries == 1_000)
        #expect(index.match(prompt(500, seed: 2), pool.everyone) == [500, 0])
        pool.replaceEndpoints([])
        index.prune(keeping: pool.snapshot)
        #expect(index.statistics.entries == 0 && index.statistics.blocks == 0)
        #expect(index.statistics.bytes < full.bytes / 4)
        #expect(index.statistics.endpoints == empty.endpoints)
    }

    @Test("Blocks that many endpoints hold are found for each, and forgotten by each alone", arguments: [5, 70, 300])
    func manyHolders(count: Int) {
        let pool = makePool(count: count)
        let index = PrefixIndex()
        let blocks = prompt(100, seed: 1)
        for endpoint in 0..<count { index.record(Array(blocks.prefix(1 + endpoint % 100)), pool, endpoint) }
        var expected = (0..<count).map { endpoint in Int32(1 + endpoint % 100) }
        #expect(index.match(blocks, pool.everyone) == expected)
        for endpoint in 0..<count where endpoint % 3 != 0 {
            index.remove(endpoint: pool.snapshot.endpoints[endpoint].number)
            expected[endpoint] = 0
        }
        #expect(index.match(blocks, pool.everyone) == expected)
    }

    @Test("Whatever happens, the index agrees with the simple model")
    func agreesWithModel() {
        var generator = SeededGenerator(seed: 99)
        let count = 9
        let pool = makePool(count: count)
        let index = PrefixIndex()
        var model = Model()
        // A tree of prompts with shared beginnings.
        var prompts = [prompt(1, seed: 1)]
        for seed in 2..<60 {
            let parent = prompts.randomElement(using: &generator) ?? []
            let kept = parent.prefix(Int.random(in: 0...parent.count, using: &generator))
            prompts.append(Array(kept) + prompt(Int.random(in: 1...12, using: &generator), seed: UInt64(seed)))
        }
        for _ in 0..<3_000 {
            let endpoint = Int.random(in: 0..<count, using: &generator)
            let number = pool.snapshot.endpoints[endpoint].number
            if Int.random(in: 0..<100, using: &generator) == 0 {
                index.remove(endpoint: number)
                model.remove(endpoint: number)
            } else {
                let blocks = prompts.randomElement(using: &generator) ?? []
                let capacity = 20 + endpoint * 5
                index.record(blocks, endpoint: number, capacity: capacity)
                model.record(blocks, endpoint: number, capacity: capacity)
            }
            let asked = prompts.randomElement(using: &generator) ?? []
            let expected = pool.snapshot.endpoints.map { model.match(asked, endpoint: $0.number) }
            #expect(index.match(asked, pool.everyone) == expected)
        }
        #expect(index.statistics.entries == model.entries)
    }

    @Test("Memory is bounded by endpoints times capacity, however much is recorded")
    func bounded() {
        let pool = makePool(count: 2)
        let index = PrefixIndex()
        for seed in 0..<400 { index.record(prompt(100, seed: UInt64(seed)), pool, seed % 2, capacity: 1_000) }
        let statistics = index.statistics
        #expect((1_990...2_000).contains(statistics.entries))
        #expect(statistics.blocks <= statistics.entries)
        #expect(statistics.bytes < 2_000 * 128)
    }

    @Test("Threads that record, match and remove at once leave a consistent index")
    func concurrent() async {
        let pool = makePool(count: 8)
        let index = PrefixIndex()
        let prompts = (0..<16).map { number -> [UInt64] in
            prompt(20, seed: UInt64(number / 4)) + prompt(20, seed: UInt64(100 + number))
        }
        await withTaskGroup { group in
            for worker in 0..<4 {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(worker))
                    for _ in 0..<500 {
                        let endpoint = Int.random(in: 0..<8, using: &generator)
                        let blocks = prompts[Int.random(in: 0..<16, using: &generator)]
                        switch Int.random(in: 0..<20, using: &generator) {
                        case 0: index.remove(endpoint: pool.snapshot.endpoints[endpoint].number)
                        case 1: _ = index.statistics
                        case 2..<10: index.record(blocks, pool, endpoint, capacity: 100)
                        default:
                            let matched = index.match(blocks, pool.everyone)
                            #expect(matched.allSatisfy { (0...40).contains($0) })
                        }
                    }
                }
            }
        }
        for endpoint in pool.snapshot.endpoints { index.remove(endpoint: endpoint.number) }
        #expect(index.statistics.entries == 0)
        #expect(index.statistics.blocks == 0)
    }
}

@Suite("Settings of the approximate prefix cache")
struct PrefixCacheSettingsTests {
    @Test("With autoTune a block is the engines' block, else blockSizeTokens, at least 64")
    func blockSize() {
        var settings = PrefixCacheSettings()
        let told = makePool([Page(blockSize: 96), Page(blockSize: 96)]).snapshot
        let silent = makePool(count: 2).snapshot
        #expect(settings.blockTokens(in: told) == 96)
        #expect(settings.blockTokens(in: silent) == 64)
        #expect(settings.blockTokens(in: makePool(count: 0).snapshot) == 64)
        settings.blockSizeTokens = 128
        #expect(settings.blockTokens(in: silent) == 128)
        settings.autoTune = false
        #expect(settings.blockTokens(in: told) == 128)
        settings.blockSizeTokens = 16
        #expect(settings.blockTokens(in: told) == 64)
    }

    @Test(
        "Engines with tiny blocks, as SGLang's pages of one token, have as many counted as one as make up 64 tokens",
        arguments: [(1, 64), (3, 66), (15, 75), (16, 64), (32, 64), (48, 96), (64, 64), (65, 65), (256, 256)]
    )
    func tinyBlocks(size: Int, expected: Int) {
        let settings = PrefixCacheSettings()
        #expect(settings.blockTokens(in: makePool([Page(blockSize: size)]).snapshot) == expected)
        // What is remembered is still the whole cache, in the larger blocks.
        #expect(
            settings.capacity(engineBlockTokens: size, engineBlocks: 96_000, blockTokens: expected)
                == min(250_000, 96_000 * size / expected)
        )
        // Equal blocks vote as one, whatever their engines call them.
        let mixed = [Page(blockSize: size), Page(blockSize: expected), Page(blockSize: 512)]
        #expect(settings.blockTokens(in: makePool(mixed).snapshot) == expected)
    }

    @Test("A prompt of any length makes no more than 2048 hashes, whatever block size the engines report")
    func boundedHashes() {
        let settings = PrefixCacheSettings()
        for size in 1...64 {
            let blockTokens = settings.blockTokens(in: makePool([Page(blockSize: size)]).snapshot)
            #expect(settings.maximumBlocks(blockTokens: blockTokens) <= 2_048)
        }
    }

    @Test("Of several sizes the most common counts, of equally common ones the smaller, whatever the order")
    func mixedSizes() {
        let settings = PrefixCacheSettings()
        for sizes in [[64, 128, 128], [128, 64, 128], [128, 128, 64, 0], [0, 64, 128, 0, 128]] {
            #expect(settings.blockTokens(in: makePool(sizes.map { Page(blockSize: $0) }).snapshot) == 128)
        }
        for sizes in [[64, 128], [128, 64], [0, 128, 64], [128, 256, 64]] {
            #expect(settings.blockTokens(in: makePool(sizes.map { Page(blockSize: $0) }).snapshot) == 64)
        }
    }

    @Test("A page that claims an absurd block size is not believed")
    func absurd() {
        let pages = [Page(blockSize: .max), Page(blockSize: -1)]
        #expect(PrefixCacheSettings().blockTokens(in: makePool(pages).snapshot) == 64)
    }

    @Test("What is matched is limited in tokens, or in blocks when the limit in tokens is 0")
    func limits() {
        var settings = PrefixCacheSettings()
        #expect(settings.maximumBlocks(blockTokens: 64) == 2_048)
        #expect(settings.maximumBlocks(blockTokens: 16) == 8_192)
        settings.maxPrefixTokensToMatch = 0
        settings.maxPrefixBlocksToMatch = 256
        #expect(settings.maximumBlocks(blockTokens: 16) == 256)
        settings.maxPrefixTokensToMatch = 10
        #expect(settings.maximumBlocks(blockTokens: 16) == 1)
    }

    @Test("As many blocks are remembered as the engine's cache holds, within bounds; else lruCapacityPerServer")
    func capacity() {
        var settings = PrefixCacheSettings()
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 5_000, blockTokens: 16) == 5_000)
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 5_000, blockTokens: 64) == 1_250)
        #expect(settings.capacity(engineBlockTokens: 0, engineBlocks: 5_000, blockTokens: 64) == 31_250)
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 0, blockTokens: 64) == 31_250)
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: .max, blockTokens: 64) == 250_000)
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 1, blockTokens: 64) == 1)
        // A capacity that somebody wrote is the most.
        settings.isCapacityGiven = true
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: .max, blockTokens: 64) == 31_250)
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 100_000, blockTokens: 16) == 31_250)
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 5_000, blockTokens: 16) == 5_000)
        settings.autoTune = false
        #expect(settings.capacity(engineBlockTokens: 16, engineBlocks: 5_000, blockTokens: 16) == 31_250)
    }

    @Test("What is recorded is bounded by the engine's cache")
    func recorded() {
        let pool = makePool([Page(blockSize: 16, blockCount: 10)])
        let cache = ApproximatePrefixCache()
        cache.record(PromptBlocks(hashes: prompt(30, seed: 1), blockTokens: 16), pool.snapshot, index: 0)
        #expect(cache.index.statistics.entries == 10)
        let matches = cache.match(PromptBlocks(hashes: prompt(30, seed: 1), blockTokens: 16), pool.everyone)
        #expect(matches == PrefixMatches(totalBlocks: 30, blockTokens: 16, matchedBlocks: [10]))
    }
}
