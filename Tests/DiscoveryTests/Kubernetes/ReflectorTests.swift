import Discovery
import Pool
import TestSupport
import Testing

@Suite("Following a Kubernetes API through what it does", .timeLimit(.minutes(2)))
struct ReflectorTests {
    private let pods = FakeKubernetes.pods()

    @Test("A list comes page by page")
    func pages() async throws {
        let names = (10..<35).map { "pod-\($0)" }
        let watched = WatchedDiscovery(try fakeKubernetes(names)) { $0.pageSize = 10 }
        await watched.expect(names.map { "\($0)-rank-0" })
        let lists = watched.fake.requests.entries.filter { $0.path == pods && !$0.isWatch }
        #expect(lists.map { $0.query["limit"] } == ["10", "10", "10"])
        #expect(lists[0].query["continue"] == nil)
        #expect(Set(lists.compactMap { $0.query["continue"] }).count == 2)
    }

    @Test("A list whose next page is forgotten begins anew, in one piece")
    func expiredPage() async throws {
        let names = (10..<35).map { "pod-\($0)" }
        let fake = try fakeKubernetes(names)
        fake.answer { request in
            guard request.query["continue"] != nil else { return nil }
            return .status(410, body: #"{"kind":"Status","code":410,"reason":"Expired"}"#)
        }
        let watched = WatchedDiscovery(fake) { $0.pageSize = 10 }
        await watched.expect(names.map { "\($0)-rank-0" })
        #expect(watched.events.entries.endpoints.count == 1)
        #expect(watched.events.entries.failures.isEmpty)
    }

    @Test("A watch begins at the list's version and goes on where the last one ended; nothing is listed again")
    func resume() async throws {
        let watched = WatchedDiscovery(try fakeKubernetes(["a"]))
        await watched.expect(["a-rank-0"])
        await watched.watching()
        try await watched.settle("b")
        watched.fake.endWatches(pods)
        try watched.fake.put(pods, FakeKubernetes.pod("c"))
        await watched.expect(["a-rank-0", "b-rank-0", "c-rank-0"])
        await watched.watching(count: 2)
        watched.fake.cutWatches(pods)
        try watched.fake.put(pods, FakeKubernetes.pod("d"))
        await watched.expect(["a-rank-0", "b-rank-0", "c-rank-0", "d-rank-0"])
        #expect(watched.counts().lists == 1)
        #expect(watched.counts().stale == 0)
        #expect(watched.events.entries.failures.isEmpty)
        let watches = watched.fake.requests.entries.filter { $0.path == pods && $0.isWatch }
        #expect(watches.allSatisfy { $0.query["allowWatchBookmarks"] == "true" && $0.query["timeoutSeconds"] != nil })
    }

    @Test("A bookmark moves the place from which the next watch goes on")
    func bookmark() async throws {
        let watched = WatchedDiscovery(try fakeKubernetes(["a"]))
        await watched.watching()
        watched.fake.bookmark(pods, version: 5555)
        watched.fake.endWatches(pods)
        let next = await watched.fake.requests.first { $0.isWatch && $0.query["resourceVersion"] == "5555" }
        #expect(next?.path == pods)
        #expect(watched.counts().lists == 1)
    }

    @Test("A bookmark from before, as of a store that was restored, leads to a new list")
    func bookmarkFromBefore() async throws {
        let watched = WatchedDiscovery(try fakeKubernetes(["a", "b"]))
        await watched.expect(["a-rank-0", "b-rank-0"])
        await watched.watching()
        watched.fake.bookmark(pods, version: 5555)
        watched.fake.send(#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}"# + "\n", to: pods)
        await watched.watching(count: 2)
        #expect(watched.counts().lists == 2)
        try await watched.settle("c")
        #expect(
            watched.fake.requests.entries.last { $0.isWatch && $0.path == pods }?.query["resourceVersion"] != "5555"
        )
    }

    @Test(
        "A server that takes no watch from one version any more is asked for a list after three attempts",
        arguments: [400, 500]
    )
    func refusedVersion(status: Int) async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching()
        let first = fake.requests.entries.first { $0.isWatch && $0.path == pods }?.query["resourceVersion"]
        let version = try #require(first)
        fake.answer { [pods] request in
            request.isWatch && request.path == pods && request.query["resourceVersion"] == version
                ? .status(status) : nil
        }
        // What is made now can be seen by a list only.
        let asked = fake.requests.entries.filter { $0.isWatch && $0.path == pods }.count
        fake.cutWatches(pods)
        try fake.put(pods, FakeKubernetes.pod("b"))
        await watched.expect(["a-rank-0", "b-rank-0"])
        let watches = fake.requests.entries.filter { $0.isWatch && $0.path == pods }.dropFirst(asked)
        #expect(watches.prefix { $0.query["resourceVersion"] == version }.count == 3)
        #expect(watched.counts().lists == 2)
        #expect(watched.events.entries.endpoints.allSatisfy { !$0.isEmpty })
        #expect(watched.events.entries.failures.filter { $0.kind == "pods" }.count == 1)
    }

    @Test(
        "What is no list is not taken for one without items",
        arguments: [
            (#"{"metadata":{"resourceVersion":"7"}}"#, false),
            (#"{"kind":"Status","metadata":{"resourceVersion":"7"},"status":"Success"}"#, false),
            (#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":{}}"#, false),
            (#"{"metadata":{"resourceVersion":"7"},"items":null}"#, true),
            (#"{"metadata":{"resourceVersion":"7"},"items":[]}"#, true),
            (#"{"kind":"PodList","metadata":{"resourceVersion":"7"}}"#, true),
        ]
    )
    func noList(body: String, isList: Bool) async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching()
        fake.answer { [pods] request in
            request.path == pods && !request.isWatch ? .status(200, body: body) : nil
        }
        fake.send("]junk", to: pods)
        if isList {
            await watched.expect([])
        } else {
            await fake.requests.wait { $0.filter { $0.path == pods && !$0.isWatch }.count >= 4 }
            fake.answer(nil)
            try await watched.settle("b")
            #expect(watched.events.entries.endpoints.allSatisfy { !$0.isEmpty })
        }
    }

    @Test("A server that takes every watch and then sends junk is complained of once, whatever its lists say")
    func junkWatches() async throws {
        let fake = try fakeKubernetes(["a"])
        fake.answer { [pods] request in request.isWatch && request.path == pods ? .chunks(["]junk"]) : nil }
        let watched = WatchedDiscovery(fake)
        await watched.watching(count: 6)
        @Sendable func isRecovery(_ event: KubernetesDiscovery.Event) -> Bool {
            if case .recovered("pods") = event { true } else { false }
        }
        #expect(watched.events.entries.failures.filter { $0.kind == "pods" }.count == 1)
        #expect(!watched.events.entries.contains(where: isRecovery))
        fake.answer(nil)
        try await watched.settle("b")
        // The first event of a watch, where "b" may have come with a list.
        try await watched.settle("c")
        await watched.events.wait { $0.contains(where: isRecovery) }
        #expect(watched.events.entries.filter(isRecovery).count == 1)
    }

    @Test(
        "When the server has forgotten, as a status or as an event, everything is listed anew",
        arguments: [true, false]
    )
    func gone(asStatus: Bool) async throws {
        let fake = try fakeKubernetes(["a", "b"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0", "b-rank-0"])
        await watched.watching()
        if asStatus {
            fake.answer { request in
                guard request.isWatch, request.path == pods else { return nil }
                fake.answer(nil)
                return .status(410, body: #"{"kind":"Status","code":410,"reason":"Gone"}"#)
            }
        }
        fake.compact()
        fake.cutWatches(pods)
        fake.delete(pods, "a")
        fake.compact()
        await watched.expect(["b-rank-0"])
        #expect(watched.counts().expirations >= 1)
        #expect(watched.events.entries.failures.isEmpty)
    }

    @Test(
        "While the server is away the endpoints stay; that is said once, and what happened meanwhile is seen afterwards"
    )
    func outage() async throws {
        let fake = try fakeKubernetes(["a", "b"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0", "b-rank-0"])
        await watched.watching()
        let before = watched.events.entries.endpoints.count
        fake.setDown(true)
        await watched.events.wait { $0.failures.contains { $0.kind == "pods" } }
        let asked = fake.requests.entries.count
        await fake.requests.wait(forCount: asked + 12)
        #expect(watched.events.entries.failures.filter { $0.kind == "pods" }.count == 1)
        #expect(watched.events.entries.endpoints.count == before)
        fake.delete(pods, "a")
        fake.setDown(false)
        await watched.expect(["b-rank-0"])
        await watched.events.wait { events in
            events.contains { if case .recovered("pods") = $0 { true } else { false } }
        }
        #expect(watched.counts().lists == 1)
    }

    @Test(
        "A server that refuses is asked again, and complained of once",
        arguments: [(401, KubernetesError.Code.unauthorized), (403, .forbidden), (429, .throttled), (500, .server)]
    )
    func refusal(status: Int, code: KubernetesError.Code) async throws {
        let fake = try fakeKubernetes(["a"])
        fake.answer { _ in .status(status) }
        let watched = WatchedDiscovery(fake)
        await fake.requests.wait { $0.filter { $0.path == FakeKubernetes.pools() }.count >= 4 }
        let failures = watched.events.entries.failures.filter { $0.kind.hasPrefix("inferencepools") }
        #expect(failures.map(\.error.code) == [code])
        #expect(watched.events.entries.endpoints.isEmpty)
        fake.answer(nil)
        await watched.expect(["a-rank-0"])
    }

    @Test("Half a line, junk and a broken list change nothing and are mended by a new one")
    func halfLine() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching()
        fake.send(#"{"type":"ADDED","object":{"metadata":{"na"#, to: pods)
        fake.endWatches(pods)
        await watched.watching(count: 2)
        fake.send("]junk", to: pods)
        await watched.watching(count: 3)
        try await watched.settle("b")
        #expect(watched.events.entries.endpoints.allSatisfy { !$0.isEmpty })
        #expect(watched.counts().lists == 2)
    }

    @Test("Long strings with quotes and backslashes in them end where they end, wherever the pieces do")
    func longStrings() async throws {
        let fake = try fakeKubernetes()
        // Some end in an escaped backslash, some in an escaped quote, around the lengths that are looked at in one step.
        for length in [0, 1, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 1026, 5000] {
            let text = String(repeating: "x", count: length) + #"\\\"}]{["# + String(repeating: #"\\"#, count: length)
            try fake.put(
                pods,
                FakeKubernetes.pod("pod-\(length)", metadata: #","annotations":{"t":"\#(text)"}"#)
            )
        }
        let watched = WatchedDiscovery(fake)
        await watched.events.wait { $0.endpoints.last?.count == 12 }
        #expect(watched.counts().malformed == 0)
    }

    @Test("An event in many pieces is one event, and many in one piece are many")
    func pieces() async throws {
        let fake = try fakeKubernetes()
        let watched = WatchedDiscovery(fake)
        await watched.watching()
        func line(_ name: String, _ version: Int) -> String {
            let pod = FakeKubernetes.pod(
                name,
                metadata: #","resourceVersion":"\#(version)","namespace":"default","x":"\"}]{[""#
            )
            return #"{"type":"ADDED","object":\#(pod)}"# + "\n"
        }
        for byte in line("a", 2000) { fake.send(String(byte), to: pods) }
        fake.send(line("b", 2001) + line("c", 2002), to: pods)
        await watched.expect(["a-rank-0", "b-rank-0", "c-rank-0"])
    }

    @Test("Events that come twice or late change nothing; an older object is never put back")
    func disorder() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching()
        func send(_ type: String, _ pod: String) {
            fake.send(#"{"type":"\#(type)","object":\#(pod)}"# + "\n", to: pods)
        }
        // Not ready at 3000, and then a word from the time when it was.
        func a(_ version: Int, isReady: Bool) -> String {
            FakeKubernetes.pod(
                "a",
                isReady: isReady,
                metadata: #","resourceVersion":"\#(version)","namespace":"default","uid":"uid-2""#
            )
        }
        send("MODIFIED", a(3000, isReady: false))
        await watched.expect([])
        let before = watched.events.entries.endpoints.count
        send("MODIFIED", a(2500, isReady: true))
        send("MODIFIED", a(3000, isReady: false))
        send("DELETED", a(3001, isReady: false))
        // Late for an object that is gone: the server is asked what is true.
        fake.delete(pods, "a")
        send("MODIFIED", a(2600, isReady: true))
        await fake.requests.wait { $0.filter { $0.path == FakeKubernetes.pods() && !$0.isWatch }.count >= 2 }
        await watched.watching(count: 2)
        try await watched.settle("z")
        #expect(watched.events.entries.endpoints[before...].allSatisfy { $0.map(\.name) == ["z-rank-0"] })
        #expect(watched.counts().stale >= 2)
    }

    @Test(
        "What cannot be read removes an object only when it is newer than what is known, and never moves the place back"
    )
    func lateUnusable() async throws {
        let pools = FakeKubernetes.pools()
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching(pools)
        func metadata(_ name: String, _ version: Int, _ uid: String) -> String {
            #""metadata":{"name":"\#(name)","namespace":"default","uid":"\#(uid)","resourceVersion":"\#(version)"}"#
        }
        func send(_ type: String, _ members: String) {
            fake.send(#"{"type":"\#(type)","object":{\#(members)}}"# + "\n", to: pools)
        }
        let spec = #","spec":{"selector":{"matchLabels":{"app":"vllm"}},"targetPorts":[{"number":1},{"number":2}]}"#
        send("MODIFIED", metadata("pool", 3000, "uid-9") + spec)
        await watched.expect(["a-rank-0", "a-rank-1"])
        send("MODIFIED", metadata("pool", 2500, "uid-9"))
        send("DELETED", metadata("pool", 2400, "uid-8"))
        // From before 3000, where we still are: doubtful, so that the server is asked.
        send("ADDED", metadata("other", 2999, "uid-7") + spec)
        await watched.watching(pools, count: 2)
        #expect(watched.counts("inferencepools").lists == 2)
        #expect(watched.counts("inferencepools").malformed == 2)
        #expect(watched.events.entries.missingCount == 0)
        send("MODIFIED", metadata("pool", 4000, "uid-9"))
        await watched.events.wait { $0.missingCount == 1 }
    }

    @Test("A pod that flaps ends up as it is, and the changes are not each a new pool")
    func flapping() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.watching()
        for round in 0..<200 { try fake.put(pods, FakeKubernetes.pod("a", isReady: round % 2 == 0)) }
        try await watched.settle("b")
        #expect(watched.events.entries.endpoints.last?.map(\.name) == ["b-rank-0"])
        #expect(watched.counts().lists == 1)
    }

    @Test("Objects too long to keep are left out and counted, and the rest of the list is not")
    func hugeObject() async throws {
        let fake = try fakeKubernetes(["a", "c"])
        let padding = String(repeating: "x", count: 300_000)
        try fake.put(pods, FakeKubernetes.pod("b", metadata: #","annotations":{"p":"\#(padding)"}"#))
        let watched = WatchedDiscovery(fake) { $0.maxObjectBytes = 200_000 }
        await watched.expect(["a-rank-0", "c-rank-0"])
        #expect(watched.counts().malformed == 1)
        #expect(watched.events.entries.malformedCount == 1)
    }

    @Test("A server that ends each watch at once is not asked without pause")
    func shortWatches() async throws {
        let fake = try fakeKubernetes(["a"])
        fake.answer { request in request.isWatch ? .chunks([]) : nil }
        let watched = WatchedDiscovery(fake) {
            $0.firstDelay = .milliseconds(200)
            $0.longestDelay = .seconds(60)
        }
        await watched.watching(count: 3)
        #expect(watched.counts().watches <= 4)
        #expect(watched.counts().lists == 1)
    }
}
