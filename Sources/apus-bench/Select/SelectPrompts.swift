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

    private static func list(_ tokens: [Int]) -> String {
        "[" + tokens.map { String($0) }.joined(separator: ",") + "]"
    }
}
