import Scheduling
import Testing

@Suite("encode-filter")
struct EncodeFilterTests {
    @Test("Keeps the roles that encode; an endpoint without a role does not")
    func roles() {
        #expect(RoleFixture.kept(.encode) == ["encode", "encode-prefill", "encode-prefill-decode"])
    }

    @Test("Nobody may be left")
    func nobody() {
        let pool = makePool(labels: [["llm-d.ai/role": "decode"]])
        #expect(kept(RoleFilter(.encode), pool.everyone) == [])
        #expect(kept(RoleFilter(.encode), makePool(labels: []).everyone) == [])
    }
}
