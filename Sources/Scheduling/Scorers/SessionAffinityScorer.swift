package import Pool

/// `session-affinity-scorer`: 1 for the session's endpoint, 0 for the others.
package struct SessionAffinityScorer: Scorer {
    package let affinity: SessionAffinity

    package init(_ affinity: SessionAffinity) {
        self.affinity = affinity
    }

    package var observer: (any DecisionObserver)? { affinity.observer }
    package var sessionToken: SessionToken? { affinity.token }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        if let position = affinity.position(in: candidates, request) { scores[position] = 1 }
    }
}
