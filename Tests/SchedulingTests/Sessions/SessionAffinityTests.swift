import Bytes
import Pool
import Scheduling
import Testing

@Suite("session-affinity-filter and -scorer")
struct SessionAffinityTests {
    private let pool = makePool(count: 4)
    private let token = SessionAffinity.token(SessionToken())

    private func encoded(_ text: String) -> [String: String] {
        ["x-session-token": Base64.encode(Array(text.utf8))]
    }

    // MARK: encoded_endpoint_header

    @Test("The token is base64 of namespace/name")
    func value() {
        #expect(SessionToken.value(for: pool.snapshot.endpoints[2]) == "bi9lMg==")
    }

    @Test("The endpoint that the token names scores 1, and is the only one that the filter leaves")
    func namedEndpoint() {
        let request = request(headers: encoded("n/e2"))
        #expect(scores(SessionAffinityScorer(token), pool.everyone, request) == [0, 0, 1, 0])
        #expect(kept(SessionAffinityFilter(token), pool.everyone, request) == [2])
    }

    @Test(
        "A token that names nobody, or is none, affects nothing",
        arguments: ["n/e9", "n", "", "e2", "/n/e2", "n/e2/", "N/E2"]
    )
    func strangeToken(text: String) {
        let request = request(headers: encoded(text))
        #expect(scores(SessionAffinityScorer(token), pool.everyone, request) == [0, 0, 0, 0])
        #expect(kept(SessionAffinityFilter(token), pool.everyone, request) == [0, 1, 2, 3])
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

    // MARK: session_id

    private func registry(capacity: Int = 100) -> SessionRegistry {
        SessionRegistry(bindings: SessionBindings(capacity: capacity, timeToLive: .seconds(300)))
    }

    private func scheduler(_ registry: SessionRegistry, _ more: [SchedulingProfile.WeightedScorer] = []) -> Scheduler {
        let scorer = SessionAffinityScorer(.identifier(registry))
        var policies = RequestPolicies()
        policies.observers = [scorer.observer].compactMap { $0 }
        return Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: [.init(name: "s", weight: 1, scorer: scorer)] + more)],
            policies: policies
        )
    }

    private func session(_ id: String, at seconds: UInt64 = 0) -> SchedulingRequest {
        var request = request(headers: ["x-session-id": id])
        request.now = MonotonicTime(nanoseconds: seconds * 1_000_000_000)
        return request
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
        #expect(kept(SessionAffinityFilter(.identifier(registry)), pool.everyone).count == 4)
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

    @Test("A new configuration goes on with the sessions of the earlier one, if it names sessions in the same way")
    func takenOver() throws {
        let before = scheduler(registry())
        let homes = try (0..<6).map { try decide(before, pool.everyone, session("s\($0)")).endpoint.number }
        let after = scheduler(registry(capacity: 4))
        after.policies.takeOver(from: before.policies)
        for index in 0..<6 where index > 1 {
            #expect(try decide(after, pool.everyone, session("s\(index)")).endpoint.number == homes[index])
        }
        let other = SessionRegistry(sources: [.cookie("sid")], bindings: SessionBindings(timeToLive: .seconds(1)))
        scheduler(other).policies.takeOver(from: before.policies)
        #expect(other.bindings.count == 0)
    }

    @Test("Sessions are forgotten after their time, and the latest used are kept when there are too many")
    func bounds() {
        let bindings = SessionBindings(capacity: 3, timeToLive: .seconds(10))
        let at = { (seconds: UInt64) in MonotonicTime(nanoseconds: seconds * 1_000_000_000) }
        for (index, name) in ["a", "b", "c"].enumerated() { bindings.bind(name, to: index, at: at(0)) }
        bindings.bind("a", to: 0, at: at(5))
        bindings.bind("d", to: 3, at: at(6))
        #expect(bindings.count == 3)
        #expect(bindings.endpoint(of: "b", at: at(6)) == nil)
        #expect(bindings.endpoint(of: "a", at: at(15)) == 0)
        #expect(bindings.endpoint(of: "a", at: at(16)) == nil)
        bindings.bind("e", to: 4, at: at(30))
        #expect(bindings.count == 1)
    }

    @Test("However many sessions come and go, no more are kept than there is room for")
    func churn() {
        let bindings = SessionBindings(capacity: 500, timeToLive: .seconds(1_000))
        var generator = SeededGenerator(seed: 4)
        for use in 0..<100_000 {
            let id = Int.random(in: 0..<1_000, using: &generator)
            bindings.bind("s\(id)", to: id % 7, at: MonotonicTime(nanoseconds: UInt64(use)))
        }
        #expect(bindings.count == 500)
    }

    @Test("A session's name comes from the first source that has one; cookies are told apart by name")
    func sources() {
        let registry = SessionRegistry(
            sources: [.header("x-a"), .cookie("sid")],
            bindings: SessionBindings(timeToLive: .seconds(1))
        )
        #expect(registry.identifier(request(headers: ["x-a": " one ", "cookie": "sid=two"])) == "one")
        #expect(registry.identifier(request(headers: ["x-a": " ", "cookie": "a=b; sid=two=2 ; c"])) == "two=2")
        #expect(registry.identifier(request(headers: ["cookie": "xsid=two; sid="])) == nil)
        #expect(registry.identifier(request(headers: ["x-a": String(repeating: "x", count: 257)])) == nil)
    }
}
