internal import Bytes
package import Pool

/// Reads pages in the Prometheus text format for one engine's dialect.
///
/// A page is read line by line, and only lines that begin with a wanted name are looked into. Nothing on a page can make reading fail: a series
/// that makes no sense (no number, not finite, negative) is left out, and a page without any known one gives an empty update.
///
/// Several series of one metric: data-parallel engines publish one for each rank (label `engine` or `dp_rank`). Requests and cache blocks are
/// summed over ranks, the cache's use is averaged, weighted by the ranks' blocks when all are known. Of several series of one rank the first counts.
package struct MetricsPage: Sendable {
    enum Role: Sendable {
        case waiting, running, adapters, cacheInfo, blockSize, blockCount
        /// With the place of the name in order of preference.
        case kvUsage(Int)
    }

    /// One selector, prepared for comparison.
    struct Wanted: Sendable {
        let role: Role
        let name: [UInt8]
        let labels: [(name: [UInt8], value: [UInt8])]
    }

    /// Counts above this are cut off: sums and products of them fit an Int.
    static let largestCount = 1e9

    private let wanted: [Wanted]
    /// The bytes that all names begin with.
    private let sharedCount: Int
    /// For each wanted name: its up to 8 bytes behind the shared ones, and which bits of such a word they are.
    private let keys: [UInt64]
    private let masks: [UInt64]
    /// By the byte behind the shared ones: whether a wanted name goes on with it. Most lines are told by it.
    private let goesOn: [Bool]
    private let blockSizeLabel: [UInt8]
    private let blockCountLabel: [UInt8]

    package init(_ dialect: EngineDialect) {
        var wanted: [Wanted] = []
        func want(_ selector: MetricSelector?, _ role: Role) {
            guard let selector, !selector.name.isEmpty else { return }
            let labels = selector.labels.map { (name: Array($0.utf8), value: MetricSelector.escaped($1)) }
            wanted.append(Wanted(role: role, name: Array(selector.name.utf8), labels: labels))
        }
        want(dialect.queuedRequests, .waiting)
        want(dialect.runningRequests, .running)
        for (place, selector) in dialect.kvUsage.enumerated() { want(selector, .kvUsage(place)) }
        want(dialect.lora, .adapters)
        want(dialect.cacheInfo, .cacheInfo)
        want(dialect.cacheBlockSize, .blockSize)
        want(dialect.cacheBlockCount, .blockCount)
        self.wanted = wanted
        let shared = wanted.dropFirst().reduce(wanted.first?.name.count ?? 0) { count, other in
            zip(wanted[0].name.prefix(count), other.name).prefix { $0 == $1 }.count
        }
        sharedCount = shared
        keys = wanted.map { Self.word($0.name.dropFirst(shared)) }
        masks = wanted.map { Self.word($0.name.dropFirst(shared).map { _ in 0xFF }[...]) }
        goesOn = (0...UInt8.max).map { byte in
            wanted.contains { $0.name.count == shared || $0.name[shared] == byte }
        }
        blockSizeLabel = Array(dialect.blockSizeLabel.utf8)
        blockCountLabel = Array(dialect.blockCountLabel.utf8)
    }

    /// The first eight bytes as a little-endian word, zero where there are fewer.
    private static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    // MARK: Reading

    /// What the page says. Costs about 10 µs for a page of 50 KB.
    package func read(_ page: RawSpan) -> MetricsUpdate {
        var findings = Findings()
        // A line that is too close to the end for a whole word is compared in the slow way.
        let lastWord = page.byteCount - sharedCount - 8
        var start = 0
        while start < page.byteCount {
            let end = page.firstOffset(of: UInt8(ascii: "\n"), from: start) ?? page.byteCount
            if start <= lastWord {
                let word = UInt64(
                    littleEndian: page.unsafeLoadUnaligned(fromByteOffset: start + sharedCount, as: UInt64.self)
                )
                if goesOn[Int(UInt8(truncatingIfNeeded: word))] {
                    for index in keys.indices where word & masks[index] == keys[index] {
                        look(at: page, start..<end, wanted[index], &findings)
                    }
                }
            } else {
                for candidate in wanted { look(at: page, start..<end, candidate, &findings) }
            }
            start = end + 1
        }
        return findings.update(page)
    }

    private func look(at page: RawSpan, _ range: Range<Int>, _ wanted: Wanted, _ findings: inout Findings) {
        let line = page.extracting(range)
        guard line.hasPrefix(wanted.name), line.byteCount > wanted.name.count else { return }
        switch line[wanted.name.count] {
        case UInt8(ascii: "{"), UInt8(ascii: " "), UInt8(ascii: "\t"): break
        default: return
        }
        var series = SeriesReader(line, from: wanted.name.count)
        var rank: UInt64 = 0
        var matching = 0
        var blockSize: Int?
        var blockCount: Int?
        while let label = series.nextLabel() {
            let name = line.extracting(label.name)
            let value = line.extracting(label.value)
            if name.isEqual(to: "engine") || name.isEqual(to: "dp_rank") { rank = XXH3.hash(value, seed: rank &+ 1) }
            for expected in wanted.labels where name.isEqual(to: expected.name) && value.isEqual(to: expected.value) {
                matching += 1
            }
            guard case .cacheInfo = wanted.role else { continue }
            if name.isEqual(to: blockSizeLabel) { blockSize = value.count() }
            if name.isEqual(to: blockCountLabel) { blockCount = value.count() }
        }
        guard matching == wanted.labels.count, let value = series.value(), value.isFinite, value >= 0 else { return }
        switch wanted.role {
        case .waiting: findings.waiting.add(rank, min(value, Self.largestCount))
        case .running: findings.running.add(rank, min(value, Self.largestCount))
        case .kvUsage(let place): findings.addUsage(place, rank, min(value, 1))
        case .adapters: findings.addAdapters(range, value)
        case .blockSize: findings.addBlockSize(Int(min(value, Self.largestCount)))
        case .blockCount: findings.blocks.add(rank, min(value, Self.largestCount))
        case .cacheInfo:
            if let blockSize { findings.addBlockSize(blockSize) }
            if let blockCount { findings.blocks.add(rank, Double(blockCount)) }
        }
    }
}

extension RawSpan {
    func hasPrefix(_ bytes: [UInt8]) -> Bool {
        byteCount >= bytes.count && extracting(0..<bytes.count).isEqual(to: bytes.span.bytes)
    }

    func isEqual(to bytes: [UInt8]) -> Bool {
        isEqual(to: bytes.span.bytes)
    }

    /// A label's value read as a count of at most `largestCount`, or nil when it is none.
    func count() -> Int? {
        guard byteCount > 0, byteCount <= 18 else { return nil }
        var value = 0
        for offset in 0..<byteCount {
            guard ASCII.isDigit(self[offset]) else { return nil }
            value = value * 10 + Int(self[offset] - 0x30)
        }
        return min(value, Int(MetricsPage.largestCount))
    }
}
