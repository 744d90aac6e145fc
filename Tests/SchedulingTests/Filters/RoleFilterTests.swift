import Scheduling
import Testing

@Suite("prefill-filter, decode-filter, encode-filter")
struct RoleFilterTests {
    private static let roles = [
        "prefill", "decode", "encode", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode", "other",
    ]

    private func kept(_ stage: RoleFilter.Stage) -> [String] {
        // The last endpoint has no role.
        let pool = makePool(labels: Self.roles.map { ["llm-d.ai/role": $0] } + [["some": "label"]])
        let positions = SchedulingTests.kept(RoleFilter(stage), pool.everyone)
        return positions.map { $0 < Self.roles.count ? Self.roles[$0] : "none" }
    }

    @Test("Each stage has its roles; endpoints without one decode, and nothing else")
    func roles() {
        #expect(kept(.prefill) == ["prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"])
        #expect(kept(.decode) == ["decode", "prefill-decode", "both", "encode-prefill-decode", "none"])
        #expect(kept(.encode) == ["encode", "encode-prefill", "encode-prefill-decode"])
    }

    @Test("Nobody may be left")
    func nobody() {
        let pool = makePool(labels: [["llm-d.ai/role": "decode"]])
        #expect(SchedulingTests.kept(RoleFilter(.prefill), pool.everyone) == [])
        #expect(SchedulingTests.kept(RoleFilter(.decode), makePool(labels: []).everyone) == [])
    }
}
