import Bytes
import EngineSimulation

/// Makes the texts of answers.
enum TextGenerator {
    /// How long answers are that no limit ends: about so many tokens.
    private static let meanLength = 40.0
    private static let lengthDeviation = 20.0
    private static let longestUnforced = 128

    /// The tokens of an answer, at most `limit` of them, and why it ends there.
    ///
    /// With `ignore_eos` there are exactly `limit`.
    static func answer(
        to request: GenerationRequest,
        mode: AnswerMode,
        limit: Int,
        random: inout SeededGenerator
    ) -> (tokens: [Tokenizer.Token], reason: EngineFinishReason) {
        if mode == .echo {
            let echo = Tokenizer.tokens(of: request.echo)
            if request.ignoresEndOfSequence, echo.count < limit, !echo.isEmpty {
                return ((0..<limit).map { echo[$0 % echo.count] }, .length)
            }
            if echo.count > limit { return (Array(echo.prefix(limit)), .length) }
            return (echo.isEmpty ? Tokenizer.tokens(of: ".") : echo, .stop)
        }
        let drawn = Int(meanLength + lengthDeviation * random.standardNormal())
        let wanted = request.ignoresEndOfSequence ? limit : min(max(drawn, 1), longestUnforced)
        return (words(min(wanted, limit), &random), wanted >= limit ? .length : .stop)
    }

    private static func words(_ count: Int, _ random: inout SeededGenerator) -> [Tokenizer.Token] {
        var tokens: [Tokenizer.Token] = []
        tokens.reserveCapacity(count + 4)
        while tokens.count < count {
            let word = vocabulary[Int(random.next() % UInt64(vocabulary.count))]
            tokens += tokens.isEmpty ? Tokenizer.tokens(of: word) : Tokenizer.tokens(of: " " + word)
        }
        return Array(tokens.prefix(count))
    }

    private static let vocabulary = """
        the a one some each swift bird wing air cloud wind rain sun moon star sky sea shore wave sand stone hill tree leaf root \
        river bridge road house door window lamp fire water bread salt tea cup hand eye ear voice song word book page line map \
        turns flies sees hears finds keeps gives takes moves rests grows falls opens closes begins ends over under near far \
        slowly gently again always often never soon later here there and but or then while because quiet bright early small
        """.split(separator: " ").map(String.init)
}
