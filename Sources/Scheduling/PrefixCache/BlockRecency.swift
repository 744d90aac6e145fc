/// The blocks of one endpoint in the order of their last use: a doubly linked list in an array, and an open-addressing table into it.
///
/// About 25 bytes for each that is kept.
struct BlockRecency {
    private struct Node {
        var hash: UInt64
        /// Neighbours in the order of use; `none` at the ends.
        var newer: UInt32
        var older: UInt32
    }

    private static let none = UInt32.max

    private let placement: BlockPlacement
    private var nodes: [Node] = []
    /// How many blocks each node stands for: itself, and those before it that are not kept.
    private var weights: [UInt8] = []
    /// Positions in `nodes` plus one; 0 for an empty bucket. Their number is a power of two.
    private var buckets: [UInt32] = []
    private var newest = none
    private var oldest = none
    /// A node that is free, linked to the next by `older`.
    private var free = none
    private var count = 0
    /// Blocks that are held, with those that are not kept.
    private(set) var blocks = 0
    /// Set when the endpoint has been removed: nothing may be recorded any more.
    private(set) var isClosed = false

    init(_ placement: BlockPlacement) {
        self.placement = placement
    }

    var bytes: Int { nodes.capacity * MemoryLayout<Node>.stride + weights.capacity + buckets.count * 4 }

    mutating func close() {
        self = BlockRecency(placement)
        isClosed = true
    }

    /// Makes a block the newest; false when it is not here.
    mutating func touch(_ hash: UInt64) -> Bool {
        guard let bucket = find(hash) else { return false }
        let node = buckets[bucket] - 1
        guard node != newest else { return true }
        unlink(node)
        linkAsNewest(node)
        return true
    }

    /// Adds a block that is not here, as the newest.
    ///
    /// - Parameters:
    ///   - standing: how many blocks it stands for.
    ///   - limit: how many there will be at most, so that memory does not double beyond it.
    mutating func insert(_ hash: UInt64, standingFor standing: Int, limit: Int) {
        if (count + 1) * 4 > buckets.count * 3 { grow() }
        let node: UInt32
        if free != Self.none {
            node = free
            free = nodes[Int(node)].older
            nodes[Int(node)].hash = hash
        } else {
            if nodes.count == nodes.capacity { nodes.reserveCapacity(max(16, min(limit, nodes.count * 2))) }
            node = UInt32(nodes.count)
            nodes.append(Node(hash: hash, newer: Self.none, older: Self.none))
            weights.append(0)
        }
        weights[Int(node)] = UInt8(clamping: standing)
        blocks += Int(weights[Int(node)])
        linkAsNewest(node)
        count += 1
        put(node)
    }

    /// Removes the oldest until no more than `limit` blocks are held, and appends their hashes to `removed`.
    mutating func removeOldest(downTo limit: Int, into removed: inout [UInt64]) {
        while blocks > limit, oldest != Self.none {
            let node = oldest
            let hash = nodes[Int(node)].hash
            if let bucket = find(hash) { vacate(bucket) }
            unlink(node)
            nodes[Int(node)].older = free
            free = node
            count -= 1
            blocks -= Int(weights[Int(node)])
            removed.append(hash)
        }
    }

    // MARK: List

    private mutating func linkAsNewest(_ node: UInt32) {
        nodes[Int(node)].newer = Self.none
        nodes[Int(node)].older = newest
        if newest != Self.none { nodes[Int(newest)].newer = node } else { oldest = node }
        newest = node
    }

    private mutating func unlink(_ node: UInt32) {
        let (newer, older) = (nodes[Int(node)].newer, nodes[Int(node)].older)
        if newer != Self.none { nodes[Int(newer)].older = older } else { newest = older }
        if older != Self.none { nodes[Int(older)].newer = newer } else { oldest = newer }
    }

    // MARK: Table

    @inline(__always)
    private func find(_ hash: UInt64) -> Int? {
        guard !buckets.isEmpty else { return nil }
        let mask = buckets.count - 1
        var bucket = placement.bucket(of: hash) & mask
        while buckets[bucket] != 0 {
            if nodes[Int(buckets[bucket] - 1)].hash == hash { return bucket }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    private mutating func put(_ node: UInt32) {
        let mask = buckets.count - 1
        var bucket = placement.bucket(of: nodes[Int(node)].hash) & mask
        while buckets[bucket] != 0 { bucket = (bucket + 1) & mask }
        buckets[bucket] = node + 1
    }

    private mutating func grow() {
        buckets = Array(repeating: 0, count: max(16, buckets.count * 2))
        var node = oldest
        while node != Self.none {
            put(node)
            node = nodes[Int(node)].newer
        }
    }

    private mutating func vacate(_ bucket: Int) {
        let mask = buckets.count - 1
        var gap = bucket
        var next = (gap + 1) & mask
        while buckets[next] != 0 {
            let home = placement.bucket(of: nodes[Int(buckets[next] - 1)].hash) & mask
            if (next - home) & mask >= (next - gap) & mask {
                buckets[gap] = buckets[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        buckets[gap] = 0
    }
}
