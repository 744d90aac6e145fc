/// Which blocks of a prompt the prefix index keeps: the first 64, from there on 32 in each doubling of the length, and all behind the last of
/// these.
///
/// Whoever holds a block holds all before it, so a few tell as much as all: where a prompt continues another, what they share is known
/// exactly, and where two part, to within 3 %. A prompt of 2,048 blocks costs some 200 entries.
enum KeptBlocks {
    /// How far apart the kept blocks are, from the one before `block` to the next; a power of two.
    @inline(__always)
    private static func step(at block: Int) -> Int {
        block < 64 ? 1 : 1 << (Int.bitWidth - 1 - block.leadingZeroBitCount - 5)
    }

    /// The last kept block that is not behind `block`; -1 for -1.
    @inline(__always)
    static func last(upTo block: Int) -> Int {
        let step = step(at: block)
        return (block + 1) / step * step - 1
    }

    /// A kept block between two others, about in the middle; nil when there is none.
    @inline(__always)
    static func middle(_ low: Int, _ high: Int) -> Int? {
        let before = last(upTo: (low + high) / 2)
        if before > low { return before }
        let after = before + step(at: before + 1)
        return after < high ? after : nil
    }
}
