package import Bytes
package import Pool

/// `context-length-aware`: endpoints whose label says that they are made for prompts of this length.
///
/// Without the label the score is 0.5, with one that is no range 0. With filtering, endpoints made for other lengths are left out.
package struct ContextLengthAware: Scorer, Filter {
    package static let defaultLabel = "llm-d.ai/context-length-range"

    package let label: String
    package let enableFiltering: Bool

    package init(label: String = defaultLabel, enableFiltering: Bool = false) {
        self.label = label
        self.enableFiltering = enableFiltering
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        for position in scores.indices {
            guard let text = candidates.endpoint(position).labels[label] else {
                scores[position] = 0.5
                continue
            }
            scores[position] = ContextLengthRange(text)?.score(request.estimatedTokens) ?? 0
        }
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        guard enableFiltering else { return candidates }
        return candidates.filtered { position in
            guard let text = candidates.endpoint(position).labels[label] else { return true }
            return ContextLengthRange(text)?.contains(request.estimatedTokens) ?? false
        }
    }
}
