/// Prompts of token ids, in the words of those who are asked.
struct SelectPrompts {
    static let blockTokens = 16

    /// One prompt after the other; all begin with the same quarter.
    let tokens: [[Int]]

    /// - Parameter blocks: of 16 tokens; 0 for a prompt of a single token, which is no block and costs nothing but the way.
    init(blocks: Int, count: Int = 16) {
        let length = max(1, blocks * Self.blockTokens)
        tokens = (0..<count).map { prompt in
            (0..<length).map { position in
                // Five digits each, as most ids of a large vocabulary have.
                position < length / 4
                    ? 10_000 + (position * 7) % 80_000 : 10_000 + (position * 11 + prompt * 9_973) % 80_000
            }
        }
    }

    /// Bodies of OpenAI's completions.
    var completions: [[UInt8]] {
        tokens.map { Array(#"{"model":"\#(Frames.model)","max_tokens":64,"prompt":\#(Self.list($0))}"#.utf8) }
    }

    /// Bodies of the selection service's `/select` and `/select_and_reserve`.
    var selections: [String] {
        tokens.map { #"{"model_name":"\#(Frames.model)","token_ids":\#(Self.list($0))}"# }
    }

    /// The same for who has hashed the blocks already: any numbers, since the service does not know from which tokens.
    var hashedSelections: [String] {
        let blocks = (tokens.first?.count ?? 0) / Self.blockTokens
        return tokens.indices.map { prompt in
            let hashes = Self.list(
                (0..<blocks).map { block in
                    // The first quarter is the same for all.
                    let seed = UInt64(block < blocks / 4 ? block : block + (prompt + 1) * 1_000_000)
                    return Int(truncatingIfNeeded: ((seed + 1) &* 0x9E37_79B9_7F4A_7C15) >> 1)
                }
            )
            return #"{"model_name":"\#(Frames.model)","block_hashes":\#(hashes),"sequence_hashes":\#(hashes),"#
                + #""isl_tokens":\#(max(1, blocks * Self.blockTokens))}"#
        }
    }

    private static func list(_ tokens: [Int]) -> String {
        "[" + tokens.map { String($0) }.joined(separator: ",") + "]"
    }
}
