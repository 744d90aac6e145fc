package import Bytes
package import Pool

/// `prefix-cache-affinity-filter`: the endpoints that hold nearly all of the prompt, unless they are so busy that computing it elsewhere is
/// quicker. Everybody passes when nobody holds it.
package struct PrefixCacheAffinityFilter: Filter {
    package struct Settings: Sendable, Equatable {
        /// The share of the prompt's blocks from which on an endpoint counts as holding it; 0 turns the filter off.
        package var affinityThreshold = 0.8
        /// How often, 0...1, the filter lets everybody pass to find out more.
        package var explorationProbability = 0.0
        /// How much later, in ms, the best endpoint that holds the prompt may begin to answer than the best that does not; 0 for any.
        package var maxTTFTPenaltyMs = 18_000.0
        /// Tokens per second that an endpoint computes of prompts.
        package var peakPrefillThroughput = 15_928.0

        package init() {}
    }

    package let settings: Settings

    package init(_ settings: Settings = Settings()) {
        self.settings = settings
    }

    package var readsPrefixMatches: Bool { true }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        guard candidates.count > 1, settings.affinityThreshold > 0,
            let matches = request.prefixMatches, matches.totalBlocks > 0
        else { return candidates }
        if settings.explorationProbability > 0,
            Double.random(in: 0..<1, using: &generator) < settings.explorationProbability
        {
            return candidates
        }
        let needed = settings.affinityThreshold * Double(matches.totalBlocks)
        var best = (holding: Double.infinity, other: Double.infinity)
        let holding = candidates.filtered { position in
            let candidate = candidates.list[position]
            let holds = Double(matches.blocks(at: candidate.index)) >= needed
            let wait = Double(candidate.inFlightTokens) / settings.peakPrefillThroughput * 1_000
            if holds {
                best.holding = min(best.holding, wait)
            } else {
                best.other = min(best.other, wait)
            }
            return holds
        }
        if holding.isEmpty || holding.count == candidates.count { return candidates }
        let isTooBusy = settings.maxTTFTPenaltyMs > 0 && best.holding - best.other > settings.maxTTFTPenaltyMs
        return isTooBusy ? candidates : holding
    }
}
