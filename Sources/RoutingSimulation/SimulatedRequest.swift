/// One request of a workload.
package final class SimulatedRequest {
    package let number: Int
    /// Seconds from the beginning.
    package let arrival: Double
    /// Names of the full blocks of the prompt, each standing for all before it; those of the answer may follow.
    package let blocks: [UInt64]
    package let promptTokens: Int
    /// Of the answer; at least 1.
    package let outputTokens: Int
    /// The LoRA adapter; nil for the base model.
    package let adapter: String?
    /// Which conversation it is a turn of, for workloads that go on when it has ended.
    package let session: Int?
    /// Its turn, or its stage: what it is reported under.
    package let stage: Int

    package init(
        number: Int,
        arrival: Double,
        blocks: [UInt64],
        promptTokens: Int,
        outputTokens: Int,
        adapter: String? = nil,
        session: Int? = nil,
        stage: Int = 0
    ) {
        self.number = number
        self.arrival = arrival
        self.blocks = blocks
        self.promptTokens = max(1, promptTokens)
        self.outputTokens = max(1, outputTokens)
        self.adapter = adapter
        self.session = session
        self.stage = stage
    }

    /// The name of a full block of prompt or answer. An answer that `blocks` does not name is like no other.
    func block(_ index: Int) -> UInt64 {
        index < blocks.count ? blocks[index] : BlockChain.name(0xA115_3E85 ^ UInt64(number) << 20, index)
    }

    /// The names of the prompt's full blocks of `size` tokens, a multiple of what servers have: each named by the last of its server's blocks.
    func promptBlocks(of size: Int, limit: Int) -> [UInt64] {
        let step = max(1, size / BlockChain.blockTokens)
        return (0..<min(promptTokens / size, limit)).map { block(($0 + 1) * step - 1) }
    }

    /// The model that it asks for, as a picker sees it.
    var model: String { adapter ?? "base" }
}

/// Makes the names of blocks: the same text after the same text has the same names.
package struct BlockChain {
    /// Tokens of a block, as servers have them.
    static let blockTokens = 16

    package private(set) var blocks: [UInt64] = []
    private var last: UInt64

    /// - Parameter model: blocks of different models are never the same.
    package init(model: String = "base") {
        last = model.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }

    /// Adds blocks of the text that `text` stands for, from its block `from` on.
    package mutating func append(_ text: UInt64, blocks count: Int, from: Int = 0) {
        for index in from..<from + max(0, count) {
            last = Self.name(text ^ last &* 0x9E37_79B9_7F4A_7C15, index)
            blocks.append(last)
        }
    }

    static func name(_ text: UInt64, _ index: Int) -> UInt64 {
        var hash = (text &+ UInt64(index) &* 0xD6E8_FEB8_6659_FD93) &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 29
        hash = hash &* 0xBF58_476D_1CE4_E5B9
        return hash ^ hash >> 32
    }
}
