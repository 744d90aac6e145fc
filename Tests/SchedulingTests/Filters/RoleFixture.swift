import Scheduling

/// Every role that there is, and one that is none; a last endpoint has no role at all.
enum RoleFixture {
    private static let roles = [
        "prefill", "decode", "encode", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode", "other",
    ]

    /// The roles of the endpoints that the filter of a stage keeps; "none" for the one without.
    static func kept(_ stage: RoleFilter.Stage) -> [String] {
        let pool = makePool(labels: roles.map { ["llm-d.ai/role": $0] } + [["some": "label"]])
        let positions = SchedulingTests.kept(RoleFilter(stage), pool.everyone)
        return positions.map { $0 < roles.count ? roles[$0] : "none" }
    }
}
