private import Bytes
package import Pool

/// `no-hit-lru-scorer`: spreads prompts that nobody holds, since these are the ones that fill caches.
///
/// A prompt of which some candidate holds a block: 0.5 for all. Else candidates are ranked: first those that never got such a prompt, then the
/// others, whose latest was longest ago first; the score is `1 − rank / (N − 1)`, at least 0; 1 for a single one.
package struct NoHitLRUScorer: Scorer, DecisionObserver {
    package static let defaultSize = 1_024

    /// Which endpoints got cold prompts, the longest ago first.
    private final class Recency: Sendable {
        /// Endpoint numbers; few, as many as there are endpoints.
        let order = Lock([Int]())
    }

    /// Endpoints to remember.
    package let lruSize: Int
    private let recency = Recency()

    package init(lruSize: Int = defaultSize) {
        self.lruSize = max(1, lruSize)
    }

    package var readsPrefixMatches: Bool { true }
    package var observer: (any DecisionObserver)? { self }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        guard Self.isCold(request.prefixMatches, candidates) else {
            for position in scores.indices { scores[position] = 0.5 }
            return
        }
        guard candidates.count > 1 else {
            for position in scores.indices { scores[position] = 1 }
            return
        }
        let age = recency.order.withLock { order in
            Dictionary(order.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        }
        // Never used come first, in the order of their numbers, so that the order of the candidates plays no part.
        let never = candidates.list.indices.filter { age[candidates.endpoint($0).number] == nil }
            .sorted { candidates.endpoint($0).number < candidates.endpoint($1).number }
        let last = Float(candidates.count - 1)
        for (rank, position) in never.enumerated() { scores[position] = 1 - Float(rank) / last }
        for position in scores.indices {
            guard let rank = age[candidates.endpoint(position).number] else { continue }
            scores[position] = max(0, 1 - Float(never.count + rank) / last)
        }
    }

    package func decided(_ request: SchedulingRequest, _ result: SchedulingResult) {
        guard request.carriesPrompt, Self.isCold(result.prefixMatches, result.primary.candidates) else { return }
        recency.order.withLock { order in
            for picked in [result.prefill, result.primary].compactMap({ $0 }) {
                let number = picked.endpoint.number
                order.removeAll { $0 == number }
                order.append(number)
            }
            if order.count > lruSize { order.removeFirst(order.count - lruSize) }
        }
    }

    package func takeOver(from earlier: any DecisionObserver) {
        guard let earlier = earlier as? NoHitLRUScorer else { return }
        let known = earlier.recency.order.withLock { $0 }
        recency.order.withLock { $0 = Array(known.suffix(lruSize)) }
    }

    private static func isCold(_ matches: PrefixMatches?, _ candidates: Candidates) -> Bool {
        guard let matches else { return true }
        return !candidates.list.contains { matches.blocks(at: $0.index) > 0 }
    }
}
