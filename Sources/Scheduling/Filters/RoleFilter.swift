package import Bytes
package import Pool

/// `prefill-filter`, `decode-filter`, `encode-filter`: the endpoints that take part in a stage, by the label `llm-d.ai/role`.
package struct RoleFilter: Filter {
    package enum Stage: Sendable {
        case prefill, decode, encode
    }

    package static let label = "llm-d.ai/role"

    private let roles: Set<String>
    private let keepsUnlabelled: Bool

    package init(_ stage: Stage) {
        switch stage {
        case .prefill:
            roles = ["prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"]
        case .decode:
            roles = ["decode", "prefill-decode", "both", "encode-prefill-decode"]
        case .encode:
            roles = ["encode", "encode-prefill", "encode-prefill-decode"]
        }
        // An endpoint that says nothing of itself serves whole requests.
        keepsUnlabelled = stage == .decode
    }

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        candidates.filtered { position in
            candidates.endpoint(position).labels[Self.label].map(roles.contains) ?? keepsUnlabelled
        }
    }
}
