/// `prefix-based-pd-decider`: a prompt is computed on a prefill endpoint when the endpoint that decodes would have to compute much of it.
///
/// Both the prompt and what the decoding endpoint does not hold of it must have at least `nonCachedTokens`, and the prompt at least
/// `promptTokens`. 0 `nonCachedTokens` turns it off; so does not knowing what the endpoint holds.
package struct PrefixBasedDecider: DisaggregationDecider {
    package let nonCachedTokens: Int
    package let promptTokens: Int

    package init(nonCachedTokens: Int = 0, promptTokens: Int = 0) {
        self.nonCachedTokens = nonCachedTokens
        self.promptTokens = promptTokens
    }

    package func disaggregates(_ request: SchedulingRequest, decode: Int?) -> Bool {
        guard nonCachedTokens > 0, request.carriesPrompt, let decode, let matches = request.prefixMatches else {
            return false
        }
        let prompt = request.estimatedTokens
        guard prompt >= promptTokens, prompt >= nonCachedTokens else { return false }
        return prompt - request.tokens(ofBlocks: matches.blocks(at: decode), matches.blockTokens) >= nonCachedTokens
    }

    package var readsPrefixMatches: Bool { true }
}
