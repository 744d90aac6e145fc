import Scheduling
import Testing

@Suite("decode-filter")
struct DecodeFilterTests {
    @Test("Keeps the roles that generate, and endpoints without a role")
    func roles() {
        #expect(RoleFixture.kept(.decode) == ["decode", "prefill-decode", "both", "encode-prefill-decode", "none"])
    }

    @Test("Nobody may be left")
    func nobody() {
        let pool = makePool(labels: [["llm-d.ai/role": "encode"]])
        #expect(kept(RoleFilter(.decode), pool.everyone) == [])
        #expect(kept(RoleFilter(.decode), makePool(labels: []).everyone) == [])
    }
}
