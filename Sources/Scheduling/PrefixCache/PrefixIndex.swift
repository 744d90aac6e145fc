internal import Bytes
package import Pool

/// Which blocks of prompts each endpoint is thought to hold.
///
/// Two structures. A table, in shards, leads from a block's hash to the endpoints that hold it: matching reads only this. Each endpoint has
/// the order in which its blocks were used, which bounds them and says what to forget.
///
/// A request's blocks are used from the last to the first, so a block is always newer than those that follow it and is forgotten after
/// them: what an endpoint holds of a prompt is always its beginning, without a gap. So not every block has to be kept (`KeptBlocks`), and
/// matching looks at few of those: whoever holds block i holds all before it, and the endpoints' ends are found by halving.
///
/// Safe for use by several threads. An index serves one pool.
package final class PrefixIndex: Sendable {
    package struct Statistics: Sendable, Equatable {
        package var endpoints = 0
        /// Blocks over all endpoints; one that three endpoints hold counts three times.
        package var entries = 0
        /// Different blocks in the table, of those that are kept.
        package var blocks = 0
        /// Memory held, in bytes, about.
        package var bytes = 0
    }

    /// Endpoints that can be known at once.
    static let maximumSlots = 0xFFFE

    private let shards: [BlockShard]
    private let slots: Lock<SlotDirectory>
    private let placement: BlockPlacement

    /// - Parameter salt: makes it unpredictable which blocks share a place in the table, so that nobody can choose prompts that slow it down.
    package init(salt: UInt64 = .random(in: .min ... .max)) {
        let placement = BlockPlacement(salt: salt)
        self.placement = placement
        shards = (0..<BlockPlacement.shards).map { _ in BlockShard(placement) }
        slots = Lock(SlotDirectory(placement))
    }

    // MARK: Matching

    /// How many of the blocks, from the first on, each candidate holds: by index in the candidates' snapshot.
    package func match(_ hashes: [UInt64], _ candidates: Candidates) -> [Int32] {
        var matched = [Int32](repeating: 0, count: candidates.snapshot.count)
        guard !hashes.isEmpty else { return matched }
        let map = slots.withLock { $0.map(for: candidates.snapshot) }
        guard map.words > 0 else { return matched }
        var search = MatchSearch(index: self, hashes: hashes, map: map)
        search.run(for: candidates, &matched)
        return matched
    }

    /// Writes the set of endpoints that hold a block into a part of `words`, one bit per slot.
    @inline(__always)
    fileprivate func holders(of hash: UInt64, into words: inout [UInt64], at part: Range<Int>) {
        shards[placement.shard(of: hash)].table.withLock { $0.holders(of: hash, into: &words, at: part) }
    }

    // MARK: Changes

    /// The endpoint with this number has got these blocks; it keeps the newest `capacity` of all its blocks.
    package func record(_ hashes: [UInt64], endpoint number: Int, capacity: Int) {
        guard !hashes.isEmpty, capacity > 0 else { return }
        guard let owner = slots.withLock({ $0.owner(of: number) }) else { return }
        owner.recency.withLock { recency in
            // Removed in the meantime: its slot may be another's now.
            guard !recency.isClosed else { return }
            var changes = BlockChanges()
            func use(_ block: Int, standingFor blocks: Int) {
                let hash = hashes[block]
                if recency.touch(hash) { return }
                recency.removeOldest(downTo: capacity - blocks, into: &changes.forgotten)
                recency.insert(hash, standingFor: blocks, limit: capacity)
                changes.added.append(hash)
            }
            recency.removeOldest(downTo: capacity, into: &changes.forgotten)
            let end = min(hashes.count, capacity)
            var kept = KeptBlocks.last(upTo: end - 1)
            for block in (kept + 1..<end).reversed() { use(block, standingFor: 1) }
            while kept >= 0 {
                let before = KeptBlocks.last(upTo: kept - 1)
                use(kept, standingFor: kept - before)
                kept = before
            }
            apply(changes, to: owner.slot)
        }
    }

    /// Writes changes into the table, shard by shard: a lock is taken once for all its blocks, and what it guards is small enough to stay in the
    /// core's cache meanwhile. The endpoint's recency has to be locked, lest two records of one block come in another order here.
    private func apply(_ changes: BlockChanges, to slot: Int) {
        let (blocks, ends) = changes.grouped(by: placement)
        var start = 0
        for shard in shards.indices {
            let end = ends[shard]
            guard start < end else { continue }
            shards[shard].table.withLock { table in
                for block in blocks[start..<end] {
                    if block.isAdded {
                        table.insert(block.hash, slot: slot)
                    } else {
                        table.remove(block.hash, slot: slot)
                    }
                }
            }
            start = end
        }
    }

    /// Forgets an endpoint and all its blocks. Takes a time in proportion to them.
    package func remove(endpoint number: Int) {
        guard let owner = slots.withLock({ $0.owners[number] }) else { return }
        owner.recency.withLock { recency in
            var changes = BlockChanges()
            recency.removeOldest(downTo: 0, into: &changes.forgotten)
            apply(changes, to: owner.slot)
            recency.close()
        }
        slots.withLock { $0.release(number, owner) }
    }

    /// Forgets the endpoints that are not in the snapshot. Call it off the request path when the pool's members have changed.
    package func prune(keeping snapshot: Snapshot) {
        let present = Set(snapshot.endpoints.map(\.number))
        let gone = slots.withLock { $0.owners.keys.filter { !present.contains($0) } }
        for number in gone { remove(endpoint: number) }
    }

    // MARK: Reading

    package var statistics: Statistics {
        var statistics = Statistics()
        for owner in slots.withLock({ Array($0.owners.values) }) {
            owner.recency.withLock { recency in
                statistics.endpoints += 1
                statistics.entries += recency.blocks
                statistics.bytes += recency.bytes
            }
        }
        for shard in shards {
            shard.table.withLock { table in
                statistics.blocks += table.count
                statistics.bytes += table.bytes
            }
        }
        return statistics
    }
}

/// Where blocks go: which shard, and which bucket of a table.
struct BlockPlacement: Sendable {
    private static let shardBits: UInt64 = 6
    static let shards = 1 << Int(shardBits)

    let salt: UInt64

    @inline(__always)
    private func mixed(_ hash: UInt64) -> UInt64 {
        let product = (hash ^ salt).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low
    }

    @inline(__always)
    func shard(of hash: UInt64) -> Int {
        Int(truncatingIfNeeded: mixed(hash) >> (64 - Self.shardBits))
    }

    /// To be cut to the size of the table by its low bits.
    @inline(__always)
    func bucket(of hash: UInt64) -> Int {
        Int(truncatingIfNeeded: mixed(hash))
    }
}

/// What changes of the blocks that one endpoint holds.
private struct BlockChanges {
    struct Block {
        let hash: UInt64
        let isAdded: Bool
    }

    var forgotten: [UInt64] = []
    var added: [UInt64] = []

    /// All changes by shard, and where each shard's end. Within a shard what is forgotten comes first: a block may have been forgotten and
    /// added again.
    func grouped(by placement: BlockPlacement) -> (blocks: [Block], ends: [Int]) {
        var ends = [Int](repeating: 0, count: BlockPlacement.shards)
        for hash in forgotten { ends[placement.shard(of: hash)] += 1 }
        for hash in added { ends[placement.shard(of: hash)] += 1 }
        var total = 0
        for shard in ends.indices {
            total += ends[shard]
            ends[shard] = total - ends[shard]
        }
        var blocks = [Block](repeating: Block(hash: 0, isAdded: false), count: total)
        func place(_ hash: UInt64, isAdded: Bool) {
            let shard = placement.shard(of: hash)
            blocks[ends[shard]] = Block(hash: hash, isAdded: isAdded)
            ends[shard] += 1
        }
        for hash in forgotten { place(hash, isAdded: false) }
        for hash in added { place(hash, isAdded: true) }
        return (blocks, ends)
    }
}

/// A part of the table from hashes to endpoints.
private final class BlockShard: Sendable {
    let table: Lock<BlockTable>

    init(_ placement: BlockPlacement) {
        table = Lock(BlockTable(placement))
    }
}

/// An endpoint in the index.
private final class SlotOwner: Sendable {
    let slot: Int
    let recency: Lock<BlockRecency>

    init(slot: Int, _ placement: BlockPlacement) {
        self.slot = slot
        recency = Lock(BlockRecency(placement))
    }
}

/// Which slot belongs to which endpoint of a snapshot.
private final class SlotMap: Sendable {
    /// By index in the snapshot; -1 for endpoints without blocks.
    let slotOfIndex: [Int32]
    let indexOfSlot: [Int32]
    /// Words of a set of slots.
    let words: Int

    init(slotOfIndex: [Int32], slotCount: Int) {
        self.slotOfIndex = slotOfIndex
        var indexOfSlot = [Int32](repeating: -1, count: slotCount)
        for (index, slot) in slotOfIndex.enumerated() where slot >= 0 { indexOfSlot[Int(slot)] = Int32(index) }
        self.indexOfSlot = indexOfSlot
        words = (slotCount + 63) / 64
    }
}

private struct SlotDirectory {
    private(set) var owners: [Int: SlotOwner] = [:]
    private let placement: BlockPlacement
    private var slotCount = 0
    private var free: [Int] = []
    private var current: (membership: UInt64, map: SlotMap)?

    init(_ placement: BlockPlacement) {
        self.placement = placement
    }

    mutating func owner(of number: Int) -> SlotOwner? {
        if let owner = owners[number] { return owner }
        guard let slot = free.popLast() ?? (slotCount < PrefixIndex.maximumSlots ? slotCount : nil) else { return nil }
        slotCount = max(slotCount, slot + 1)
        let owner = SlotOwner(slot: slot, placement)
        owners[number] = owner
        current = nil
        return owner
    }

    mutating func release(_ number: Int, _ owner: SlotOwner) {
        guard owners[number] === owner else { return }
        owners[number] = nil
        free.append(owner.slot)
        current = nil
    }

    mutating func map(for snapshot: Snapshot) -> SlotMap {
        if let current, current.membership == snapshot.membership, current.map.slotOfIndex.count == snapshot.count {
            return current.map
        }
        let slots = snapshot.endpoints.map { endpoint in owners[endpoint.number].map { Int32($0.slot) } ?? -1 }
        let map = SlotMap(slotOfIndex: slots, slotCount: slotCount)
        current = (snapshot.membership, map)
        return map
    }
}

/// Finds by halving where each endpoint's blocks end.
private struct MatchSearch: ~Copyable {
    private let index: PrefixIndex
    private let hashes: [UInt64]
    private let map: SlotMap
    /// Sets of slots, `map.words` words each: those at the ends of the ranges being halved.
    private var sets: [UInt64]

    init(index: PrefixIndex, hashes: [UInt64], map: SlotMap) {
        self.index = index
        self.hashes = hashes
        self.map = map
        sets = Array(repeating: 0, count: 16 * map.words)
    }

    mutating func run(for candidates: Candidates, _ matched: inout [Int32]) {
        // Set 0: who holds the first block, among the candidates; set 1: who holds the last one, too.
        for candidate in candidates.list {
            let slot = Int(map.slotOfIndex[candidate.index])
            if slot >= 0 { sets[2 * map.words + slot >> 6] |= 1 << UInt64(slot & 63) }
        }
        guard probe(0, into: 0, within: 2) else { return }
        let last = hashes.count - 1
        guard last > 0 else { return assign(0, except: nil, 1, &matched) }
        if probe(last, into: 1, within: 0) { assign(1, except: nil, hashes.count, &matched) }
        narrow(0, last, 0, 1, next: 2, &matched)
    }

    /// Puts those of set `within` that hold block `block` into set `target`; false when there are none.
    private mutating func probe(_ block: Int, into target: Int, within: Int) -> Bool {
        let words = map.words
        makeRoom(for: target)
        index.holders(of: hashes[block], into: &sets, at: target * words..<(target + 1) * words)
        var any: UInt64 = 0
        for word in 0..<words {
            sets[target * words + word] &= sets[within * words + word]
            any |= sets[target * words + word]
        }
        return any != 0
    }

    /// Those of set `a` (who hold block `low`) that are not in set `b` (who hold block `high`) end somewhere between.
    private mutating func narrow(_ low: Int, _ high: Int, _ a: Int, _ b: Int, next: Int, _ matched: inout [Int32]) {
        let words = map.words
        guard (0..<words).contains(where: { sets[a * words + $0] & ~sets[b * words + $0] != 0 }) else { return }
        guard high - low > 1 else { return assign(a, except: b, low + 1, &matched) }
        guard let middle = KeptBlocks.middle(low, high) else { return lookBetween(low, high, a, b, next, &matched) }
        _ = probe(middle, into: next, within: a)
        narrow(low, middle, a, next, next: next + 1, &matched)
        narrow(middle, high, next, b, next: next + 1, &matched)
    }

    /// Between two kept blocks only those have any whose prompts ended there: all others are left out first.
    private mutating func lookBetween(
        _ low: Int,
        _ high: Int,
        _ a: Int,
        _ b: Int,
        _ next: Int,
        _ matched: inout [Int32]
    ) {
        makeRoom(for: next + 1)
        for word in 0..<map.words {
            sets[next * map.words + word] = sets[a * map.words + word] & ~sets[b * map.words + word]
            sets[(next + 1) * map.words + word] = 0
        }
        halve(low, high, next, next + 1, next: next + 2, &matched)
    }

    /// As `narrow`, where every block may be held that the one before it is.
    private mutating func halve(_ low: Int, _ high: Int, _ a: Int, _ b: Int, next: Int, _ matched: inout [Int32]) {
        guard high - low > 1 else { return assign(a, except: b, low + 1, &matched) }
        let middle = (low + high) / 2
        guard probe(middle, into: next, within: a) else { return halve(low, middle, a, next, next: next + 1, &matched) }
        halve(low, middle, a, next, next: next + 1, &matched)
        halve(middle, high, next, b, next: next + 1, &matched)
    }

    private mutating func makeRoom(for set: Int) {
        let missing = (set + 1) * map.words - sets.count
        if missing > 0 { sets.append(contentsOf: repeatElement(0, count: missing)) }
    }

    private func assign(_ set: Int, except other: Int?, _ blocks: Int, _ matched: inout [Int32]) {
        for word in 0..<map.words {
            var bits = sets[set * map.words + word]
            if let other { bits &= ~sets[other * map.words + word] }
            while bits != 0 {
                let slot = word << 6 + bits.trailingZeroBitCount
                matched[Int(map.indexOfSlot[slot])] = Int32(blocks)
                bits &= bits - 1
            }
        }
    }
}
