/// The engine's KV memory: blocks of tokens, shared by prefix, kept after their last use until the room is needed, least recently used
/// first.
///
/// A full block is known by the hash of its tokens and of everything before them. A block that is not full yet belongs to one request.
struct BlockCache: Sendable {
    private struct Block {
        var users: Int
        /// Neighbours in the list of blocks without users, from the least to the most recently used.
        var older: UInt64?
        var newer: UInt64?
    }

    let capacity: Int
    private var blocks: [UInt64: Block] = [:]
    private var oldest: UInt64?
    private var newest: UInt64?
    /// Full blocks with at least one user.
    private var pinned = 0
    /// Blocks that are not full.
    private var unfinished = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// In use by requests; a shared block counts once.
    var used: Int { pinned + unfinished }

    /// Kept for later requests only.
    var idle: Int { blocks.count - pinned }

    /// What could be had: empty blocks and those that nobody uses.
    var available: Int { capacity - used }

    func contains(_ hash: UInt64) -> Bool {
        blocks[hash] != nil
    }

    /// How many of the first of these blocks are there.
    func countOfPrefix(_ hashes: some Sequence<UInt64>) -> Int {
        var count = 0
        for hash in hashes {
            guard blocks[hash] != nil else { break }
            count += 1
        }
        return count
    }

    /// How many blocks a request for these would take from `available`.
    func cost(ofAll hashes: some Sequence<UInt64>, unfinished: Int) -> Int {
        hashes.reduce(unfinished) { $0 + (blocks[$1].map { $0.users > 0 } == true ? 0 : 1) }
    }

    /// Makes one more request use the block, which is created when it is not there. The caller has seen that there is room.
    mutating func use(_ hash: UInt64) {
        if blocks[hash] == nil {
            makeRoom()
            blocks[hash] = Block(users: 1)
            pinned += 1
            return
        }
        if blocks[hash]?.users == 0 {
            unlink(hash)
            pinned += 1
        }
        blocks[hash]?.users += 1
    }

    mutating func release(_ hash: UInt64) {
        guard let users = blocks[hash]?.users, users > 0 else { return }
        blocks[hash]?.users = users - 1
        guard users == 1 else { return }
        pinned -= 1
        link(hash)
    }

    /// Takes an empty block. The caller has seen that there is room.
    mutating func useUnfinished() {
        makeRoom()
        unfinished += 1
    }

    mutating func releaseUnfinished() {
        unfinished -= 1
    }

    /// Forgets everything that nobody uses.
    mutating func removeIdle() {
        while let hash = oldest {
            unlink(hash)
            blocks[hash] = nil
        }
    }

    private mutating func makeRoom() {
        while blocks.count + unfinished >= capacity, let hash = oldest {
            unlink(hash)
            blocks[hash] = nil
        }
    }

    private mutating func link(_ hash: UInt64) {
        blocks[hash]?.older = newest
        blocks[hash]?.newer = nil
        if let newest { blocks[newest]?.newer = hash } else { oldest = hash }
        newest = hash
    }

    private mutating func unlink(_ hash: UInt64) {
        guard let block = blocks[hash] else { return }
        if let older = block.older { blocks[older]?.newer = block.newer } else { oldest = block.newer }
        if let newer = block.newer { blocks[newer]?.older = block.older } else { newest = block.older }
        blocks[hash]?.older = nil
        blocks[hash]?.newer = nil
    }
}
