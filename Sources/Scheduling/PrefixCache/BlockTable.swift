/// From a block's hash to the set of slots that hold it: open addressing, linear probing, no tombstones.
///
/// Most blocks are held by few endpoints: up to four slots lie in the bucket itself, so that a block costs 16 bytes; larger sets are bit
/// sets in a pool.
struct BlockTable {
    private let placement: BlockPlacement
    /// Two words per bucket: the hash, and its slots. Slots 0 means that the bucket is empty.
    private var words: [UInt64] = []
    /// Buckets less one; their number is a power of two.
    private var mask = -1
    private(set) var count = 0
    private var large = SlotSetPool()

    init(_ placement: BlockPlacement) {
        self.placement = placement
    }

    var bytes: Int { words.count * 8 + large.bytes }

    // MARK: Reading

    /// Writes one bit per slot into `part` of `set`; slots beyond it are left out.
    @inline(__always)
    func holders(of hash: UInt64, into set: inout [UInt64], at part: Range<Int>) {
        for word in part { set[word] = 0 }
        guard let bucket = find(hash) else { return }
        var lanes = SlotLanes(words[bucket * 2 + 1])
        if let position = lanes.poolPosition { return large.copy(position, into: &set, at: part) }
        while let slot = lanes.popFirst() {
            if slot >> 6 < part.count { set[part.lowerBound + slot >> 6] |= 1 << UInt64(slot & 63) }
        }
    }

    @inline(__always)
    private func find(_ hash: UInt64) -> Int? {
        guard mask >= 0 else { return nil }
        var bucket = placement.bucket(of: hash) & mask
        while words[bucket * 2 + 1] != 0 {
            if words[bucket * 2] == hash { return bucket }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    // MARK: Changes

    mutating func insert(_ hash: UInt64, slot: Int) {
        if let bucket = find(hash) {
            var lanes = SlotLanes(words[bucket * 2 + 1])
            if let position = lanes.poolPosition {
                large.insert(slot, at: position)
            } else if !lanes.insert(slot) {
                let position = large.add()
                while let member = lanes.popFirst() { large.insert(member, at: position) }
                large.insert(slot, at: position)
                words[bucket * 2 + 1] = SlotLanes(poolPosition: position).word
            } else {
                words[bucket * 2 + 1] = lanes.word
            }
            return
        }
        if (count + 1) * 4 > (mask + 1) * 3 { resize(to: max(16, (mask + 1) * 2)) }
        var lanes = SlotLanes(0)
        _ = lanes.insert(slot)
        put(hash, lanes.word)
        count += 1
    }

    mutating func remove(_ hash: UInt64, slot: Int) {
        guard let bucket = find(hash) else { return }
        var lanes = SlotLanes(words[bucket * 2 + 1])
        if let position = lanes.poolPosition {
            // Back into the bucket only at two, lest a set that sways between four and five moves each time.
            guard large.remove(slot, at: position) <= 2 else { return }
            lanes = SlotLanes(0)
            for member in large.take(position) { _ = lanes.insert(member) }
        } else {
            lanes.remove(slot)
        }
        words[bucket * 2 + 1] = lanes.word
        if lanes.word == 0 { vacate(bucket) }
    }

    /// Closes the gap at `bucket`, so that everything behind it is still found.
    private mutating func vacate(_ bucket: Int) {
        var gap = bucket
        var next = (gap + 1) & mask
        while words[next * 2 + 1] != 0 {
            let home = placement.bucket(of: words[next * 2]) & mask
            if (next - home) & mask >= (next - gap) & mask {
                words[gap * 2] = words[next * 2]
                words[gap * 2 + 1] = words[next * 2 + 1]
                gap = next
            }
            next = (next + 1) & mask
        }
        words[gap * 2 + 1] = 0
        count -= 1
        if count == 0 {
            words = []
            mask = -1
        } else if mask >= 64, count * 8 < mask + 1 {
            resize(to: (mask + 1) / 4)
        }
    }

    private mutating func resize(to buckets: Int) {
        let old = words
        words = Array(repeating: 0, count: buckets * 2)
        mask = buckets - 1
        for bucket in stride(from: 0, to: old.count, by: 2) where old[bucket + 1] != 0 {
            put(old[bucket], old[bucket + 1])
        }
    }

    private mutating func put(_ hash: UInt64, _ lanes: UInt64) {
        var bucket = placement.bucket(of: hash) & mask
        while words[bucket * 2 + 1] != 0 { bucket = (bucket + 1) & mask }
        words[bucket * 2] = hash
        words[bucket * 2 + 1] = lanes
    }
}

/// Up to four slots in one word, 16 bits each, 0 for none and else the slot plus one; or, the highest 16 bits being ones, a place in the pool.
struct SlotLanes {
    private(set) var word: UInt64

    init(_ word: UInt64) {
        self.word = word
    }

    init(poolPosition: Int) {
        word = 0xFFFF << 48 | UInt64(poolPosition)
    }

    var poolPosition: Int? {
        word >> 48 == 0xFFFF ? Int(word & 0xFFFF_FFFF) : nil
    }

    /// False when there is no room. A slot that is there already stays once.
    mutating func insert(_ slot: Int) -> Bool {
        let lane = UInt64(slot + 1)
        var rest = word
        var shift: UInt64 = 0
        while rest != 0 {
            if rest & 0xFFFF == lane { return true }
            rest >>= 16
            shift += 16
        }
        guard shift < 64 else { return false }
        word |= lane << shift
        return true
    }

    mutating func remove(_ slot: Int) {
        let lane = UInt64(slot + 1)
        var rest = word
        word = 0
        var shift: UInt64 = 0
        while rest != 0 {
            if rest & 0xFFFF != lane {
                word |= (rest & 0xFFFF) << shift
                shift += 16
            }
            rest >>= 16
        }
    }

    mutating func popFirst() -> Int? {
        guard word != 0 else { return nil }
        defer { word >>= 16 }
        return Int(word & 0xFFFF) - 1
    }
}

/// Sets of slots as bits, all of one size, which grows with the highest slot.
struct SlotSetPool {
    private var words: [UInt64] = []
    private var stride = 2
    private var free: [Int] = []

    var bytes: Int { (words.count + free.count) * 8 }

    mutating func add() -> Int {
        if let position = free.popLast() { return position }
        words.append(contentsOf: repeatElement(0, count: stride))
        return words.count / stride - 1
    }

    func copy(_ position: Int, into set: inout [UInt64], at part: Range<Int>) {
        for word in 0..<min(stride, part.count) { set[part.lowerBound + word] = words[position * stride + word] }
    }

    mutating func insert(_ slot: Int, at position: Int) {
        if slot >> 6 >= stride { widen(to: max(stride * 2, slot >> 6 + 1)) }
        words[position * stride + slot >> 6] |= 1 << UInt64(slot & 63)
    }

    /// Returns how many are left.
    mutating func remove(_ slot: Int, at position: Int) -> Int {
        if slot >> 6 < stride { words[position * stride + slot >> 6] &= ~(1 << UInt64(slot & 63)) }
        return (0..<stride).reduce(0) { $0 + words[position * stride + $1].nonzeroBitCount }
    }

    /// The members of a set, which is empty and free afterwards.
    mutating func take(_ position: Int) -> [Int] {
        var members: [Int] = []
        for word in 0..<stride {
            var bits = words[position * stride + word]
            words[position * stride + word] = 0
            while bits != 0 {
                members.append(word << 6 + bits.trailingZeroBitCount)
                bits &= bits - 1
            }
        }
        free.append(position)
        return members
    }

    private mutating func widen(to wider: Int) {
        let sets = words.count / stride
        var widened = [UInt64](repeating: 0, count: sets * wider)
        for position in 0..<sets {
            for word in 0..<stride { widened[position * wider + word] = words[position * stride + word] }
        }
        words = widened
        stride = wider
    }
}
