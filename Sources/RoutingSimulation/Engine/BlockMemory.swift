/// The KV blocks of one server: shared by prefix, kept after their last use until the room is needed, least recently used first.
///
/// What `EngineSimulation`'s cache is too, over an open-addressing table and a list in an array, since a simulated hour has a billion uses.
struct BlockMemory {
    private struct Node {
        var hash: UInt64
        var users: Int32
        /// Neighbours among the blocks without users, by age; of free nodes, `older` leads to the next.
        var older: Int32
        var newer: Int32
    }

    private static let none: Int32 = -1

    private var nodes: [Node] = []
    /// Positions in `nodes` plus one, 0 for an empty bucket.
    private var buckets = [Int32](repeating: 0, count: 1 << 10)
    private var oldest = none
    private var newest = none
    private var free = none
    private(set) var count = 0
    /// Blocks with a user.
    private(set) var pinned = 0

    // MARK: Reading

    /// How many of the first of these blocks are there.
    func countOfPrefix(_ hashes: ArraySlice<UInt64>) -> Int {
        var found = 0
        for hash in hashes {
            guard bucket(of: hash) != nil else { break }
            found += 1
        }
        return found
    }

    /// How many of these blocks have no user now, or are not there: what using them takes from what can be had.
    func cost(of hashes: ArraySlice<UInt64>) -> Int {
        var cost = 0
        for hash in hashes {
            if let bucket = bucket(of: hash), nodes[Int(buckets[bucket] - 1)].users > 0 { continue }
            cost += 1
        }
        return cost
    }

    // MARK: Changes

    /// One more request uses the block, which is made when it is not there.
    mutating func use(_ hash: UInt64) {
        if let bucket = bucket(of: hash) {
            let node = Int(buckets[bucket] - 1)
            if nodes[node].users == 0 {
                unlink(Int32(node))
                pinned += 1
            }
            nodes[node].users += 1
            return
        }
        insert(hash, users: 1)
        pinned += 1
    }

    mutating func release(_ hash: UInt64) {
        guard let bucket = bucket(of: hash) else { return }
        let node = buckets[bucket] - 1
        nodes[Int(node)].users -= 1
        guard nodes[Int(node)].users == 0 else { return }
        pinned -= 1
        link(node)
    }

    /// Keeps a block that nobody uses any more, as the newest.
    mutating func keep(_ hash: UInt64) {
        if let bucket = bucket(of: hash) {
            let node = buckets[bucket] - 1
            guard nodes[Int(node)].users == 0 else { return }
            unlink(node)
            link(node)
        } else {
            link(insert(hash, users: 0))
        }
    }

    /// Forgets unused blocks, the oldest first, until no more than `limit` are left in all.
    mutating func shrink(to limit: Int) {
        while count > limit, oldest != Self.none { removeOldest() }
    }

    @discardableResult
    private mutating func insert(_ hash: UInt64, users: Int32) -> Int32 {
        if (count + 1) * 2 > buckets.count { grow() }
        let node: Int32
        let made = Node(hash: hash, users: users, older: Self.none, newer: Self.none)
        if free != Self.none {
            node = free
            free = nodes[Int(node)].older
            nodes[Int(node)] = made
        } else {
            node = Int32(nodes.count)
            nodes.append(made)
        }
        put(node)
        count += 1
        return node
    }

    private mutating func removeOldest() {
        let node = oldest
        if let bucket = bucket(of: nodes[Int(node)].hash) { vacate(bucket) }
        unlink(node)
        nodes[Int(node)].older = free
        free = node
        count -= 1
    }

    // MARK: List

    private mutating func link(_ node: Int32) {
        nodes[Int(node)].older = newest
        nodes[Int(node)].newer = Self.none
        if newest != Self.none { nodes[Int(newest)].newer = node } else { oldest = node }
        newest = node
    }

    private mutating func unlink(_ node: Int32) {
        let (older, newer) = (nodes[Int(node)].older, nodes[Int(node)].newer)
        if older != Self.none { nodes[Int(older)].newer = newer } else { oldest = newer }
        if newer != Self.none { nodes[Int(newer)].older = older } else { newest = older }
    }

    // MARK: Table

    @inline(__always)
    private func home(_ hash: UInt64) -> Int {
        Int(truncatingIfNeeded: (hash &* 0x9E37_79B9_7F4A_7C15) >> 32) & (buckets.count - 1)
    }

    @inline(__always)
    private func bucket(of hash: UInt64) -> Int? {
        let mask = buckets.count - 1
        var bucket = home(hash)
        while buckets[bucket] != 0 {
            if nodes[Int(buckets[bucket] - 1)].hash == hash { return bucket }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    private mutating func put(_ node: Int32) {
        let mask = buckets.count - 1
        var bucket = home(nodes[Int(node)].hash)
        while buckets[bucket] != 0 { bucket = (bucket + 1) & mask }
        buckets[bucket] = node + 1
    }

    private mutating func grow() {
        let old = buckets
        buckets = Array(repeating: 0, count: old.count * 2)
        for entry in old where entry != 0 { put(entry - 1) }
    }

    private mutating func vacate(_ bucket: Int) {
        let mask = buckets.count - 1
        var gap = bucket
        var next = (gap + 1) & mask
        while buckets[next] != 0 {
            let home = home(nodes[Int(buckets[next] - 1)].hash)
            if (next - home) & mask >= (next - gap) & mask {
                buckets[gap] = buckets[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        buckets[gap] = 0
    }
}
