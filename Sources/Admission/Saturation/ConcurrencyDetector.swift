package import Pool

/// `concurrency-detector`: what Apus has in flight, divided by what the endpoints are configured to take; metrics do not matter.
package struct ConcurrencyDetector: SaturationDetector, Equatable {
    package enum Mode: String, Sendable, CaseIterable {
        case requests
        case tokens
    }

    package var mode = Mode.requests
    /// Requests, and tokens, that one endpoint can take.
    package var maxConcurrency = 100
    package var maxTokenConcurrency = 1_000_000
    /// By how much, as a share, the filter lets endpoints go beyond that.
    package var headroom = 0.0

    package init() {}

    package var capacity: Double { Double(mode == .requests ? maxConcurrency : maxTokenConcurrency) }
    package var stalenessThreshold: Duration? { nil }
    package var failsOpen: Bool { false }

    package func load(of candidate: Candidates.Candidate, isFresh: Bool) -> Double {
        Double(mode == .requests ? candidate.inFlightRequests : candidate.inFlightTokens)
    }

    package func load(ofRequests count: Int, tokens: Int) -> Double {
        Double(mode == .requests ? count : tokens)
    }

    package func hasRoom(_ position: Int, of candidates: Candidates, isFresh: Bool) -> Bool {
        load(of: candidates.list[position], isFresh: isFresh) < capacity * (1 + headroom)
    }
}
