package import Pool

/// `prefill-cost-scorer`: what must be computed at an endpoint before it answers this request, in tokens of prompts; Apus's own, and what it
/// schedules by when nothing is configured.
///
/// The cost of an endpoint is the sum of
/// - the prompt tokens in flight there, which are those not in its cache of requests that it has not begun to answer, less three quarters of what
///   it is taken to have computed of the oldest of them by now: see `PromptProgress`;
/// - `requestTokens` for each request that is there: those that Apus has in flight, and those of the page that others have sent;
/// - this prompt's tokens that are not in its cache, times `1 + memoryWeight × u²`, u being the share of its memory in use: what is computed
///   pushes out of the cache what others come back for, which matters where little is left for it;
/// - for a LoRA adapter that does not run there, `adapterTokens`, or `blockedTokens` where all slots are taken;
/// less, for one endpoint, what other pickers may have put into its cache: see `PromptHome`.
///
/// The score is `scaleTokens / (scaleTokens + cost − least cost)`: 1 for the cheapest, a half for one that costs `scaleTokens` more.
///
/// Counts of waiting and running requests on a page are as old as the engine's last step, which a long prompt makes last for a second; what
/// Apus has in flight is exact at any time.
package struct PrefillCostScorer: Scorer {
    package struct Weights: Sendable, Equatable {
        package var requestTokens = 100
        package var memoryWeight = 8.0
        package var homeWeight = 2.0
        package var scaleTokens = 4_096

        package init() {}
    }

    /// What it costs to load an adapter, and to wait until one gives up its slot.
    private static let adapterTokens: Float = 5_000
    private static let blockedTokens: Float = 50_000
    /// How far an endpoint is with a prompt is a guess: one that is late must not seem idle.
    private static let trustInProgress: Float = 0.75

    package let weights: Weights
    private let adapters = KnownAdapters()

    package init(_ weights: Weights = Weights()) {
        self.weights = weights
    }

    package var readsPrefixMatches: Bool { true }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        let home = PromptHome(request, candidates)
        let isAdapter = adapters.contains(request.targetModel, learningFrom: candidates.snapshot)
        for position in scores.indices {
            let candidate = candidates.list[position]
            let own = InFlightLoad.uncachedTokens(request, request.prefixMatches, at: candidate.index)
            let usage = candidate.kvCacheUsage
            var cost = Float(candidate.inFlightTokens) - Self.trustInProgress * candidate.doneTokens
            cost += Float(weights.requestTokens) * (Float(candidate.inFlightRequests) + candidate.foreign)
            cost += Float(own) * (1 + Float(weights.memoryWeight) * usage * usage)
            if isAdapter { cost += Self.cost(of: request.targetModel, at: candidate.index, candidates.snapshot) }
            scores[position] = cost
        }
        if let home { scores[home.position] -= Float(weights.homeWeight) * home.expectedTokens }
        var least = Float.infinity
        for position in scores.indices { least = min(least, scores[position]) }
        let scale = Float(max(1, weights.scaleTokens))
        for position in scores.indices { scores[position] = scale / (scale + (scores[position] - least)) }
    }

    private static func cost(of adapter: String, at index: Int, _ snapshot: Snapshot) -> Float {
        switch snapshot.place(of: adapter, at: index) {
        case .runs: 0
        case .hasRoom: adapterTokens
        case .full: blockedTokens
        }
    }
}
