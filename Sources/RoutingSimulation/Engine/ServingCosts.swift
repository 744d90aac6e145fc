/// What one step of an engine costs, and how much it holds. The defaults stand for a 32-billion-parameter dense model in bf16 on two H100 with
/// tensor parallelism, as in the published runs with 307,328 tokens of KV memory per server.
///
/// Where the figures come from: weights of 64 GB read once per step at 2 × 3.35 TB/s are 9.6 ms, and 2 ms go for launching; 64 GFLOP per prompt
/// token at half of 2 × 989 TFLOPS are 65 µs (15,400 tokens per second, where llm-d's published peaks are 15,900 to 20,500); 262 KB of KV per
/// token of context are read in 39 ns; attention costs 1.3 MFLOP per pair of tokens, 1.3 ns. `maximumSequences` and `tokenBudget` are vLLM's
/// defaults for a server of this size, blocks of 16 tokens its default anywhere.
package struct ServingCosts: Sendable, Equatable {
    /// Seconds that every step takes.
    package var step = 0.0116
    /// Seconds for each sequence that gets a token.
    package var sequence = 0.000_02
    /// Seconds for each token of context of those sequences.
    package var contextToken = 39e-9
    /// Seconds for each prompt token that is computed.
    package var promptToken = 65e-6
    /// Seconds for each pair of a prompt token that is computed and one before it.
    package var attentionPair = 1.3e-9
    /// Seconds to load a LoRA adapter that has no slot, while the engine does nothing else.
    package var adapterLoad = 0.3
    /// Seconds until KV that another server has computed begins to come, and for each token of it (400 Gbit/s).
    package var transfer = 0.005
    package var transferToken = 5.3e-6

    package var blockTokens = 16
    package var blocks = 307_328 / 16
    /// Sequences that are computed at once.
    package var maximumSequences = 256
    /// Tokens that one step computes at most, of prompts and answers together.
    package var tokenBudget = 8_192
    package var adapterSlots = 4
    /// Multiplies all times: 2 is a server of half the speed.
    package var slowness = 1.0

    package init() {}

    /// Seconds of a run of `steps` steps in which `sequences` get one token each per step, with `context` tokens of context before the first.
    func decode(steps: Int, sequences: Int, context: Int) -> Double {
        let (steps, sequences) = (Double(steps), Double(sequences))
        let first = step + sequence * sequences + contextToken * Double(context)
        return slowness * (steps * first + contextToken * sequences * steps * (steps - 1) / 2)
    }

    /// Seconds that computing `tokens` of a prompt adds to a step, when `before` of it are there already.
    package func prefill(tokens: Int, before: Int) -> Double {
        let tokens = Double(tokens)
        return slowness * tokens * (promptToken + attentionPair * (Double(before) + tokens / 2))
    }
}
