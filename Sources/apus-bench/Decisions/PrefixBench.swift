import Bytes
import Glibc
import Inference
import Pool
import Scheduling

/// The index of who holds which prompts, and the hashes that it is asked for.
enum PrefixBench {
    private static let endpoints = 100
    private static let capacity = 31_250

    /// Resident memory of an index in which every endpoint holds as much as is remembered, all of it different. Measured in processes of
    /// their own, whose memory holds nothing that was given back before and could be taken again unseen.
    static func measureMemory(_ suite: inout Suite) throws {
        let capacity = suite.isShort ? Self.capacity / 25 : Self.capacity
        let lines = [
            Suite.Line(
                title: "prefix index, \(endpoints) × \(capacity.grouped) blocks, resident",
                key: "prefix_index_resident_mb",
                unit: "MB",
                digits: 0,
                goal: 400
            ),
            Suite.Line(
                title: "prefix index, as it says itself",
                key: "prefix_index_reported_mb",
                unit: "MB",
                digits: 0
            ),
        ]
        try suite.measure(lines) {
            let process = try ChildProcess(sibling("apus-bench"), [memoryCommand, "\(capacity)"])
            let words = try process.wait(for: memoryMarker, seconds: 120)
            guard let line = words.first, case let numbers = line.split(separator: "/").compactMap({ Double($0) }),
                numbers.count == lines.count
            else { throw BenchError("\(memoryCommand) said \(words)") }
            return numbers.map { $0 / 1e6 }
        }
    }

    /// What `measureMemory` runs: hidden, since it is of use to nobody else.
    static let memoryCommand = "prefix-index-memory"
    private static let memoryMarker = "prefix index: "

    /// Fills an index and says how many bytes the process has gained, and how many the index counts.
    static func reportMemory(_ words: [String]) throws {
        guard let capacity = words.first.flatMap({ Int($0) }), 1...1_000_000 ~= capacity else {
            throw BenchError("\(memoryCommand) takes the number of blocks of an endpoint")
        }
        let pool = BenchPool.make(endpoints)
        var seed: UInt64 = 0
        let before = try ProcessUsage(pid: getpid()).residentBytes
        let index = PrefixIndex()
        for endpoint in pool.snapshot.endpoints {
            for _ in 0..<capacity / 250 {
                seed += 1
                index.record(BenchPool.prompt(250, seed: seed), endpoint: endpoint.number, capacity: capacity)
            }
        }
        let after = try ProcessUsage(pid: getpid()).residentBytes
        write("\(memoryMarker)\(after - before)/\(index.statistics.bytes)\n", to: 1)
    }

    /// Endpoints that hold more and more of a prompt, and all of them all of it.
    static func measureMatching(_ suite: inout Suite) {
        let (count, blocks, repetitions) = (96, 3_750, suite.repetitions(500))
        let candidates = BenchPool.make(count).candidates(at: .now())
        let prompt = BenchPool.prompt(blocks, seed: 5)
        for (title, key, step) in [("each more than the last", "staggered", blocks / count), ("all", "full", blocks)] {
            let index = PrefixIndex()
            for position in 0..<count {
                index.record(
                    Array(prompt.prefix(step * (position + 1))),
                    endpoint: candidates.endpoint(position).number,
                    capacity: capacity
                )
            }
            let line = Suite.Line(
                title: "prefix match, \(blocks.grouped) blocks × \(count) endpoints, held by \(title)",
                key: "prefix_match_\(key)_us",
                unit: "µs",
                goal: 150
            )
            suite.measure(line) {
                cpuMicroseconds(per: repetitions) {
                    for _ in 0..<repetitions { _ = index.match(prompt, candidates) }
                }
            }
        }
    }

    /// Prompts that share their first half, to endpoints whose caches are full: each new block costs another its place.
    static func measureRecording(_ suite: inout Suite) {
        let (count, blocks, repetitions) = (8, 860, 1_000)
        let pool = BenchPool.make(count)
        let index = PrefixIndex()
        var seed: UInt64 = 1 << 32
        func next() -> [UInt64] {
            seed += 1
            return BenchPool.prompt(blocks / 2, seed: seed % 64) + BenchPool.prompt(blocks / 2, seed: seed)
        }
        func record(_ prompts: [[UInt64]]) {
            for (number, prompt) in prompts.enumerated() {
                index.record(prompt, endpoint: pool.snapshot.endpoints[number % count].number, capacity: capacity)
            }
        }
        record((0..<count * capacity / blocks * 3).map { _ in next() })
        let line = Suite.Line(
            title: "prefix record, \(blocks) blocks, half of them new, full caches of \(count) endpoints",
            key: "prefix_record_us",
            unit: "µs"
        )
        suite.measure(line) {
            let prompts = (0..<repetitions).map { _ in next() }
            return cpuMicroseconds(per: repetitions) { record(prompts) }
        }
    }

    /// Blocks of 16 tokens.
    static func measureHashing(_ suite: inout Suite) throws {
        let (count, repetitions) = (8_192, suite.repetitions(500))
        let ids = (0..<count).map { String($0 * 7 + 10_000) }.joined(separator: ", ")
        let text = String(repeating: "four", count: count)
        for (title, key, prompt) in [("token ids", "ids", "[\(ids)]"), ("tokens of text", "text", "\"\(text)\"")] {
            let body = ByteBuffer(copying: Array(#"{"model":"m","prompt":\#(prompt)}"#.utf8))
            let request = try InferenceRequest.read(body, api: .completions)
            let line = Suite.Line(
                title: "blocks of a prompt of \(count.grouped) \(title)",
                key: "blocks_of_\(key)_us",
                unit: "µs"
            )
            suite.measure(line) {
                cpuMicroseconds(per: repetitions) {
                    for _ in 0..<repetitions {
                        _ = PrefixBlocks.hashes(
                            of: request,
                            in: body,
                            model: "m",
                            blockTokens: 16,
                            bytesPerToken: PrefixCacheSettings.bytesPerToken,
                            maxBlocks: count
                        )
                    }
                }
            }
        }
    }
}
