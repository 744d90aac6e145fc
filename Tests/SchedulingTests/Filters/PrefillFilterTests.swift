import Scheduling
import Testing

@Suite("prefill-filter")
struct PrefillFilterTests {
    @Test("Keeps the roles that compute prompts; an endpoint without a role does not")
    func roles() {
        #expect(
            RoleFixture.kept(.prefill) == [
                "prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode",
            ]
        )
    }

    @Test("Nobody may be left")
    func nobody() {
        let pool = makePool(labels: [["llm-d.ai/role": "encode"]])
        #expect(kept(RoleFilter(.prefill), pool.everyone) == [])
        #expect(kept(RoleFilter(.prefill), makePool(labels: []).everyone) == [])
    }
}
