internal import Bytes

/// A request that the engine has taken, and how far it is.
struct EngineSequence: Sendable {
    var request: EngineRequest
    var record: EngineRequestRecord
    /// Hashes of the full blocks of prompt and output, as far as they are computed.
    var hashes: [UInt64] = []
    var heldBlocks: [UInt64] = []
    var holdsUnfinished = false
    var lastToken: MonotonicTime?
    var epoch = 0
    /// Among the running: the order of admission.
    var order = 0

    var holdsBlocks: Bool { holdsUnfinished || !heldBlocks.isEmpty }

    /// Prompt and the output so far.
    var length: Int { request.promptTokens.count + record.generatedTokens }

    func token(at index: Int) -> UInt32 {
        let prompt = request.promptTokens
        return index < prompt.count ? prompt[index] : request.outputTokens[index - prompt.count]
    }
}
