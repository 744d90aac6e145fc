package import Bytes
package import Pool

/// `session-affinity-filter`: the session's endpoint alone; everybody when there is no session, or its endpoint is no candidate.
package struct SessionAffinityFilter: Filter {
    package let affinity: SessionAffinity

    package init(_ affinity: SessionAffinity) {
        self.affinity = affinity
    }

    package var observer: (any DecisionObserver)? { affinity.observer }
    package var sessionToken: SessionToken? { affinity.token }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        guard let only = affinity.position(in: candidates, request) else { return candidates }
        return candidates.filtered { $0 == only }
    }
}
