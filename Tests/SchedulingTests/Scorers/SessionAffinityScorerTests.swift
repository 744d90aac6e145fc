import Bytes
import Pool
import Scheduling
import Testing

@Suite("session-affinity-scorer")
struct SessionAffinityScorerTests {
    private let pool = makePool(count: 4)

    private func registry(capacity: Int = 100) -> SessionRegistry { SessionFixture.registry(capacity: capacity) }

    private func scheduler(_ registry: SessionRegistry, _ more: [SchedulingProfile.WeightedScorer] = []) -> Scheduler {
        SessionFixture.scheduler(registry, more)
    }

    private func session(_ id: String, at seconds: UInt64 = 0) -> SchedulingRequest {
        SessionFixture.session(id, at: seconds)
    }

    @Test("The endpoint that the token names scores 1, all others 0")
    func namedEndpoint() {
        let request = request(headers: SessionFixture.encoded("n/e2"))
        #expect(scores(SessionAffinityScorer(SessionFixture.token), pool.everyone, request) == [0, 0, 1, 0])
    }

    @Test(
        "A token that names nobody, or is none, affects nothing",
        arguments: ["n/e9", "n", "", "e2", "/n/e2", "n/e2/", "N/E2"]
    )
    func strangeToken(text: String) {
        let request = request(headers: SessionFixture.encoded(text))
        #expect(scores(SessionAffinityScorer(SessionFixture.token), pool.everyone, request) == [0, 0, 0, 0])
    }

    @Test("The token is base64 of namespace/name")
    func value() {
        #expect(SessionToken.value(for: pool.snapshot.endpoints[2]) == "bi9lMg==")
    }

    @Test("The response names where the request went, or another profile's pick")
    func responseHeader() throws {
        var policies = RequestPolicies()
        policies.sessionTokens = [
            SessionToken(), SessionToken(header: "x-p", profile: "p"), SessionToken(header: "x-q", profile: "q"),
        ]
        let scheduler = Scheduler(profiles: [SchedulingProfile(name: "p", scorers: [])], policies: policies)
        let result = try decide(scheduler, makePool(count: 1).everyone, request())
        let headers = policies.responseHeaders(result)
        // Profile q did not run: nothing is said of it.
        #expect(headers.map(\.name) == ["x-session-token", "x-p"])
        #expect(headers.map(\.value) == ["bi9lMA==", "bi9lMA=="])
    }

    @Test("New sessions spread; each then stays where it began")
    func spread() throws {
        let scheduler = scheduler(registry())
        let first = try (0..<8).map { try decide(scheduler, pool.everyone, session("s\($0)")).endpoint.number }
        #expect(Dictionary(grouping: first, by: { $0 }).mapValues(\.count).values.allSatisfy { $0 == 2 })
        for round in 0..<3 {
            let again = try (0..<8).map {
                try decide(scheduler, pool.everyone, session("s\($0)"), seed: UInt64(round)).endpoint.number
            }
            #expect(again == first)
        }
    }

    @Test("A request without a session prefers nobody and binds nothing")
    func withoutSession() throws {
        let registry = registry()
        #expect(scores(SessionAffinityScorer(.identifier(registry)), pool.everyone) == [0, 0, 0, 0])
        try decide(scheduler(registry), pool.everyone, request())
        #expect(registry.bindings.count == 0)
    }

    @Test("A session moves at once when its endpoint is no candidate, and not when another was picked over it")
    func migration() throws {
        let registry = registry()
        let scheduler = scheduler(registry)
        let home = try decide(scheduler, pool.everyone, session("s")).endpoint
        let others = Candidates(
            snapshot: pool.snapshot,
            indexes: pool.snapshot.endpoints.indices.filter { pool.snapshot.endpoints[$0] !== home }
        )
        // Another scorer outweighs it.
        let decoy = HeaderLabelAffinityScorer(headerName: "x", labelKey: "l")
        let labelled = makePool(labels: [[:], ["l": "1"]])
        let outweighed = self.scheduler(registry, [.init(name: "d", weight: 9, scorer: decoy)])
        var request = SchedulingRequest(
            model: "m",
            targetModel: "m",
            header: { $0 == "x" ? "1" : $0 == "x-session-id" ? "t" : nil }
        )
        registry.bindings.bind("t", to: labelled.snapshot.endpoints[0].number, at: request.now)
        #expect(try decide(outweighed, labelled.everyone, request).endpoint.identity.name == "e1")
        #expect(registry.bindings.endpoint(of: "t", at: request.now) == labelled.snapshot.endpoints[0].number)
        request = session("s")
        let moved = try decide(scheduler, others, request).endpoint
        #expect(moved !== home)
        #expect(try decide(scheduler, pool.everyone, request).endpoint === moved)
    }
}
