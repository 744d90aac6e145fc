internal import Bytes
internal import Pool

/// The values of one metric by rank, the first of each.
struct RankedValues {
    /// More ranks than any engine has; a page with more is read up to here.
    private static let maxRanks = 512

    private(set) var entries: [(rank: UInt64, value: Double)] = []

    mutating func add(_ rank: UInt64, _ value: Double) {
        guard entries.count < Self.maxRanks, !entries.contains(where: { $0.rank == rank }) else { return }
        entries.append((rank, value))
    }

    var isEmpty: Bool { entries.isEmpty }

    /// The sum as a count, or nil without an entry.
    var total: Int? {
        guard !isEmpty else { return nil }
        return Int(min(entries.reduce(0) { $0 + $1.value }, MetricsPage.largestCount))
    }

    /// The mean, weighted if every entry's rank has a weight.
    func mean(weights: RankedValues) -> Double? {
        guard !isEmpty else { return nil }
        if entries.count == 1 { return entries[0].value }
        var sum = 0.0
        var total = 0.0
        for entry in entries {
            guard let weight = weights.entries.first(where: { $0.rank == entry.rank })?.value, weight > 0 else {
                return entries.reduce(0) { $0 + $1.value } / Double(entries.count)
            }
            sum += entry.value * weight
            total += weight
        }
        return sum / total
    }
}

/// What has been found on a page so far.
struct Findings {
    /// More adapters than any engine lists.
    private static let maxAdapters = 4096

    var waiting = RankedValues()
    var running = RankedValues()
    var blocks = RankedValues()
    private var usage = RankedValues()
    /// Which of its names `usage` is from.
    private var usagePlace = Int.max
    private var blockSize: Int?
    private var adapters: (line: Range<Int>, updatedAt: Double)?

    mutating func addUsage(_ place: Int, _ rank: UInt64, _ value: Double) {
        guard place <= usagePlace else { return }
        if place < usagePlace {
            usagePlace = place
            usage = RankedValues()
        }
        usage.add(rank, value)
    }

    mutating func addBlockSize(_ size: Int) {
        if blockSize == nil, size > 0 { blockSize = size }
    }

    /// Every change of the adapters makes a new series, whose value is its time: the newest is the state.
    mutating func addAdapters(_ line: Range<Int>, _ updatedAt: Double) {
        if let adapters, adapters.updatedAt > updatedAt { return }
        adapters = (line, updatedAt)
    }

    func update(_ page: RawSpan) -> MetricsUpdate {
        var update = MetricsUpdate()
        update.waitingQueueSize = waiting.total
        update.runningRequests = running.total
        update.kvCacheUsage = usage.mean(weights: blocks)
        update.cacheBlockSize = blockSize
        if let total = blocks.total, total > 0 { update.cacheBlockCount = total }
        if let adapters { update.adapters = Self.adapters(page.extracting(adapters.line)) }
        return update
    }

    private static func adapters(_ line: RawSpan) -> MetricsUpdate.Adapters {
        var adapters = MetricsUpdate.Adapters(active: [], waiting: [], maximum: 0)
        var series = SeriesReader(line, from: line.firstOffset(of: UInt8(ascii: "{")) ?? line.byteCount)
        while let label = series.nextLabel() {
            let name = line.extracting(label.name)
            if name.isEqual(to: "running_lora_adapters") {
                adapters.active = names(line, label)
            } else if name.isEqual(to: "waiting_lora_adapters") {
                adapters.waiting = names(line, label)
            } else if name.isEqual(to: "max_lora") {
                adapters.maximum = line.extracting(label.value).count() ?? 0
            }
        }
        return adapters
    }

    private static func names(_ line: RawSpan, _ label: SeriesReader.Label) -> [String] {
        guard !label.value.isEmpty else { return [] }
        return label.text(in: line)
            .split(separator: ",", maxSplits: maxAdapters)
            .prefix(maxAdapters)
            .map { String(ASCII.trimmed($0)) }
            .filter { !$0.isEmpty }
    }
}
