import Pool
import Scheduling
import Testing

@Suite("session-affinity-filter")
struct SessionAffinityFilterTests {
    private let pool = makePool(count: 4)
    private let token = SessionFixture.token

    private func encoded(_ text: String) -> [String: String] { SessionFixture.encoded(text) }

    @Test("The endpoint that the token names is the only one that is left")
    func namedEndpoint() {
        #expect(kept(SessionAffinityFilter(token), pool.everyone, request(headers: encoded("n/e2"))) == [2])
    }

    @Test(
        "A token that names nobody, or is none, affects nothing",
        arguments: ["n/e9", "n", "", "e2", "/n/e2", "n/e2/", "N/E2"]
    )
    func strangeToken(text: String) {
        #expect(kept(SessionAffinityFilter(token), pool.everyone, request(headers: encoded(text))) == [0, 1, 2, 3])
    }

    @Test("What is no base64, and what is far too long, affects nothing")
    func noToken() {
        for value in ["***", String(repeating: "A", count: 1 << 20)] {
            #expect(
                kept(SessionAffinityFilter(token), pool.everyone, request(headers: ["x-session-token": value])).count
                    == 4
            )
        }
        #expect(kept(SessionAffinityFilter(token), pool.everyone, request()).count == 4)
    }

    @Test("A request without a session leaves everybody")
    func withoutSession() {
        let filter = SessionAffinityFilter(.identifier(SessionFixture.registry()))
        #expect(kept(filter, pool.everyone).count == 4)
    }
}
