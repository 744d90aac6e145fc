import Bytes
import Glibc
import Inference
import Pool
import Scheduling

/// The index of who holds which prompts, and the hashes that it is asked for.
enum PrefixBench {
    private static let endpoints = 100
    private static let capacity = 31_250

    /// Resident memory of an index in which every endpoint holds as much as is remembered, all of it different.
    static func measureMemory(_ suite: inout Suite) throws {
        let pool = BenchPool.make(endpoints)
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
        var seed: UInt64 = 0
        // What the first index gives back, the next would take again unseen.
        try suite.measure(lines, isOnce: true) {
            let before = try ProcessUsage(pid: getpid()).residentBytes
            let index = PrefixIndex()
            for endpoint in pool.snapshot.endpoints {
                for _ in 0..<capacity / 250 {
                    seed += 1
                    index.record(
                        BenchPool.prompt(250, seed: seed),
                        endpoint: endpoint.number,
                        capacity: capacity
                    )
                }
            }
            let after = try ProcessUsage(pid: getpid()).residentBytes
            return [Double(after - before) / 1e6, Double(index.statistics.bytes) / 1e6]
        }
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
