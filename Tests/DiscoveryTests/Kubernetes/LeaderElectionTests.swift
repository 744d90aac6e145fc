import Bytes
import Discovery
import SubRequests
import TestSupport
import Testing

@Suite("Electing a leader by a lease", .timeLimit(.minutes(2)))
struct LeaderElectionTests {
    private let fake: FakeKubernetes
    private let http = HTTPClient()
    private let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"

    init() throws { fake = try FakeKubernetes() }

    /// Nothing ends by itself within a test, however slow the machine is, unless it is given a short time.
    private func candidate(
        _ name: String,
        lease: Duration = .seconds(3600),
        deadline: Duration = .seconds(1800)
    ) -> (election: LeaderElection, events: EventLog<LeaderElection.Event>) {
        var settings = LeaderElection.Settings(name: "epp", namespace: "default", identity: name)
        settings.leaseDuration = lease
        settings.renewDeadline = deadline
        settings.requestTimeout = .seconds(60)
        settings.retryPeriod = .milliseconds(50)
        let events = EventLog<LeaderElection.Event>()
        let client = KubernetesClient(KubernetesAccess(server: fake.url), client: http)
        let election = LeaderElection(settings, client: client) { events.append($0) }
        election.start()
        return (election, events)
    }

    @Test("One leads; when it gives up the lease the other one takes over at once")
    func release() async throws {
        let (a, saidA) = candidate("a")
        _ = await saidA.first { $0 == .acquired }
        let (b, saidB) = candidate("b")
        _ = await saidB.first { $0 == .follows("a") }
        #expect(a.isLeader && !b.isLeader)
        // What others put there stays.
        let before = try #require(fake.object(path, "epp"))
        try fake.put(path, before.replacing(#""metadata":{"#, with: #""metadata":{"annotations":{"k":"v"},"#))
        await a.stop()
        _ = await saidB.first { $0 == .acquired }
        #expect(!a.isLeader && b.isLeader)
        let lease = try #require(fake.object(path, "epp"))
        #expect(lease.contains(#""holderIdentity":"b""#) && lease.contains(#""annotations":{"k":"v"}"#))
        #expect(lease.contains(#""leaseTransitions":1"#))
        await b.stop()
        #expect(fake.object(path, "epp")?.contains("holderIdentity") == false)
        http.shutdown()
    }

    @Test("Who is stopped before the answer to a lease that was taken gives it back all the same")
    func stoppedMidway() async throws {
        fake.answer { [fake, path] request in
            guard request.method == "POST" else { return nil }
            guard (try? fake.put(path, request.body)) != nil else { return nil }
            return .chunks(["{"], pause: .seconds(600))
        }
        let (a, _) = candidate("a")
        await fake.requests.wait { $0.contains { $0.method == "POST" } }
        while fake.object(path, "epp") == nil { await Task.yield() }
        await a.stop()
        fake.answer(nil)
        #expect(fake.object(path, "epp")?.contains("holderIdentity") == false)
        http.shutdown()
    }

    @Test("A lease that somebody wrote to while it was given back is given back again")
    func releaseConflict() async throws {
        let (a, saidA) = candidate("a")
        _ = await saidA.first { $0 == .acquired }
        let conflicts = Lock(0)
        fake.answer { request in
            guard request.method == "PUT", !request.body.contains("holderIdentity") else { return nil }
            return conflicts.withLock { conflicts in
                conflicts += 1
                return conflicts == 1 ? .status(409) : nil
            }
        }
        await a.stop()
        #expect(conflicts.withLock { $0 } == 2)
        #expect(fake.object(path, "epp")?.contains("holderIdentity") == false)
        http.shutdown()
    }

    @Test("A leader that cannot renew steps down before another one can lead")
    func partition() async throws {
        let (a, saidA) = candidate("a", deadline: .milliseconds(200))
        _ = await saidA.first { $0 == .acquired }
        fake.setDown(true)
        _ = await saidA.first { $0 == .lost }
        await saidA.wait { $0.contains { if case .failing = $0 { true } else { false } } }
        fake.setDown(false)
        await saidA.wait { $0.filter { $0 == .acquired }.count >= 2 }
        await a.stop()
        http.shutdown()
    }

    @Test("How long a lease lasts is its holder's to say: a longer one than ours is waited for")
    func longLease() async throws {
        try fake.put(
            path,
            #"{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"epp"},"spec":{"holderIdentity":"other","leaseDurationSeconds":3600,"renewTime":"2020-01-01T00:00:00.000000Z"}}"#
        )
        let (a, saidA) = candidate("a", lease: .milliseconds(1), deadline: .microseconds(1))
        _ = await saidA.first { $0 == .follows("other") }
        let asked = fake.requests.entries.count
        await fake.requests.wait(forCount: asked + 5)
        #expect(!a.isLeader)
        await a.stop()
        http.shutdown()
    }

    @Test("That somebody else was faster is no failure, and does not hide one that follows")
    func conflict() async throws {
        // The last first: refused as a conflict when it is made, and then for a reason of the server's own.
        let answers = Lock(["", "500", "409"])
        fake.answer { request in
            guard request.method == "POST" || request.method == "PUT" else { return nil }
            let answer = answers.withLock { $0.count > 1 ? $0.removeLast() : $0[0] }
            return answer == "409" ? .status(409) : answer == "500" ? .status(500) : nil
        }
        let (a, saidA) = candidate("a")
        _ = await saidA.first { $0 == .acquired }
        let failures = saidA.entries.compactMap { event -> KubernetesError.Code? in
            if case .failing(let error) = event { error.code } else { nil }
        }
        #expect(failures == [.server])
        await a.stop()
        http.shutdown()
    }

    @Test("A lease that is not renewed is over, whatever the clock of its holder says")
    func abandoned() async throws {
        try fake.put(
            path,
            #"{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"epp"},"spec":{"holderIdentity":"gone","leaseDurationSeconds":1,"renewTime":"2099-01-01T00:00:00.000000Z","leaseTransitions":3}}"#
        )
        let (a, saidA) = candidate("a", lease: .milliseconds(500))
        _ = await saidA.first { $0 == .acquired }
        #expect(saidA.entries.first == .follows("gone"))
        #expect(fake.object(path, "epp")?.contains(#""leaseTransitions":4"#) ?? false)
        await a.stop()
        http.shutdown()
    }
}

@Suite("Asking Kubernetes who reads metrics", .timeLimit(.minutes(2)))
struct AccessReviewTests {
    @Test("Users who may read are let in, others told why not, and the answers are remembered")
    func verdicts() async throws {
        let fake = try FakeKubernetes()
        fake.know(token: "alice", user: "alice", paths: ["/metrics"])
        fake.know(token: "bob", user: "bob")
        let http = HTTPClient()
        defer { http.shutdown() }
        let review = AccessReview(KubernetesClient(KubernetesAccess(server: fake.url), client: http))
        for _ in 0..<3 {
            #expect(await review.verdict(authorization: "Bearer alice", path: "/metrics") == .allowed)
            #expect(await review.verdict(authorization: "bearer bob ", path: "/metrics") == .forbidden(user: "bob"))
            #expect(await review.verdict(authorization: "Bearer x\"}", path: "/metrics") == .unauthenticated)
        }
        #expect(fake.requests.entries.count == 5)
        #expect(await review.verdict(authorization: "Bearer alice", path: "/debug/config") == .forbidden(user: "alice"))
        for bad in [nil, "", "Bearer ", "Basic YTpi"] {
            #expect(await review.verdict(authorization: bad, path: "/metrics") == .unauthenticated)
        }
        #expect(fake.requests.entries.count == 6)
    }

    @Test("However many strangers wait for an answer, those who are known have theirs; lines in the log are few")
    func crowd() async throws {
        let fake = try FakeKubernetes()
        fake.know(token: "alice", user: "alice", paths: ["/metrics"])
        fake.know(token: "bob", user: "bob")
        let http = HTTPClient()
        defer { http.shutdown() }
        let said = EventLog<AccessReview.Event>()
        var lifetimes = AccessReview.Lifetimes()
        lifetimes.forbidden = .zero
        let review = AccessReview(
            KubernetesClient(KubernetesAccess(server: fake.url), client: http),
            lifetimes: lifetimes
        ) { said.append($0) }
        #expect(await review.verdict(authorization: "Bearer alice", path: "/metrics") == .allowed)
        for _ in 0..<3 {
            #expect(await review.verdict(authorization: "Bearer bob", path: "/metrics") == .forbidden(user: "bob"))
        }
        #expect(said.entries == [.refused(user: "bob", path: "/metrics")])
        fake.answer { _ in .chunks(["{"], pause: .seconds(600)) }
        let strangers = Task {
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<40 {
                    group.addTask { _ = await review.verdict(authorization: "Bearer \(number)", path: "/metrics") }
                }
            }
        }
        await said.wait(forCount: 2)
        #expect(await review.verdict(authorization: "Bearer alice", path: "/metrics") == .allowed)
        #expect(said.entries.dropFirst() == [.failing("too many questions at once")])
        strangers.cancel()
        await strangers.value
    }

    @Test("While the API is away nobody new is let in")
    func outage() async throws {
        let fake = try FakeKubernetes()
        fake.setDown(true)
        let http = HTTPClient()
        defer { http.shutdown() }
        let said = EventLog<AccessReview.Event>()
        let client = KubernetesClient(KubernetesAccess(server: fake.url), client: http)
        let review = AccessReview(client) { said.append($0) }
        for _ in 0..<3 {
            let verdict = await review.verdict(authorization: "Bearer alice", path: "/metrics")
            guard case .unknown = verdict else { throw TestFailure("\(verdict)") }
        }
        #expect(said.entries.count == 1)
        fake.setDown(false)
        #expect(await review.verdict(authorization: "Bearer alice", path: "/metrics") == .unauthenticated)
        #expect(said.entries.count == 2 && said.entries.last == .recovered)
    }
}
