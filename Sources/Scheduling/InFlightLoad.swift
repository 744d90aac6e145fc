/// `inflight-load-producer`: how many tokens a request counts while it is in flight.
package struct InFlightLoad: Sendable, Equatable {
    package static let defaultOutputRatio = 1.5

    /// Whether the answer's tokens count, too. Without them a request's tokens are gone from its endpoint when the answer begins: the prompt is
    /// computed then.
    package var addEstimatedOutputTokens = false
    /// Tokens of an answer per token of its prompt.
    package var outputRatio = defaultOutputRatio
    /// The most tokens that an answer is taken to have; nil without a limit.
    package var maxEstimatedOutputTokens: Int?

    package init() {}

    /// The tokens that the endpoint at `index` of the snapshot must still compute for the prompt: what it does not hold of the blocks that were
    /// looked up, and what comes after them.
    package static func uncachedTokens(_ request: SchedulingRequest, _ matches: PrefixMatches?, at index: Int) -> Int {
        guard let matches, matches.blockTokens > 0 else { return max(0, request.estimatedTokens) }
        let looked = request.tokens(ofBlocks: matches.totalBlocks, matches.blockTokens)
        let held = request.tokens(ofBlocks: matches.blocks(at: index), matches.blockTokens)
        return max(0, looked - held) + max(0, request.estimatedTokens - looked)
    }

    /// The estimate of the answer: the prompt's tokens times `outputRatio`, no more than the client asks for and than the limit.
    package func outputTokens(_ request: SchedulingRequest) -> Int {
        guard addEstimatedOutputTokens else { return 0 }
        var tokens = Int(clamping: (Double(max(0, request.estimatedTokens)) * outputRatio).rounded())
        if let wanted = request.maxOutputTokens, wanted > 0 { tokens = min(tokens, wanted) }
        if let maxEstimatedOutputTokens { tokens = min(tokens, maxEstimatedOutputTokens) }
        return tokens
    }
}

extension Int {
    /// The whole number nearest to `value` that there is.
    fileprivate init(clamping value: Double) {
        self = value >= 0x1p62 ? 1 << 62 : value <= 0 ? 0 : Int(value)
    }
}
