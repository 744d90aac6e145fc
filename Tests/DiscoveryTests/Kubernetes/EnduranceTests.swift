import Bytes
import Discovery
import Foundation
import Pool
import SubRequests
import TestSupport
import Testing

/// Time that passes as fast as somebody sleeps.
private final class VirtualTime: Sendable {
    private let time = Lock(MonotonicTime(nanoseconds: 1_000_000_000_000))

    var now: MonotonicTime { time.withLock { $0 } }

    var clock: ReflectorClock {
        var clock = ReflectorClock()
        clock.now = { self.now }
        clock.sleep = { duration in
            self.time.withLock { $0 = $0 + duration }
            await Task.yield()
        }
        return clock
    }
}

@Suite("What a Kubernetes API may do to its clients for long", .timeLimit(.minutes(5)))
struct KubernetesEnduranceTests {
    private let pods = FakeKubernetes.pods()

    @Test(
        "An API server may be gone for an hour: the last known objects stay, it is asked with patience, and said once"
    )
    func hour() async throws {
        let fake = try fakeKubernetes(["a", "b"])
        let http = HTTPClient()
        defer { http.shutdown() }
        let access = KubernetesAccess(server: fake.url)
        let client = KubernetesClient(access, client: http, perSecond: 100_000, burst: 1000)
        let time = VirtualTime()
        var settings = ReflectorSettings()
        settings.clock = time.clock
        let said = EventLog<String>()
        let collection = KubernetesCollection(group: "", version: "v1", namespace: "default", name: "pods")
        let reflector = Reflector<PodObject>(collection, client: client, settings: settings) { event in
            switch event {
            case .changed: said.append("changed")
            case .failing(let error): said.append(error.code.rawValue)
            case .recovered: said.append("recovered")
            case .malformed: said.append("malformed")
            }
        }
        reflector.start()
        defer { reflector.stop() }
        await fake.requests.wait { $0.contains(where: \.isWatch) }
        let start = time.now
        let asked = fake.requests.entries.count
        let isOver = EventLog<Bool>()
        fake.answer { [pods] request in
            guard time.now.elapsed(since: start) < .seconds(3600) else {
                isOver.append(true)
                return nil
            }
            return request.path == pods ? .drop : nil
        }
        fake.cutWatches()
        await isOver.wait(forCount: 1)
        // At first soon, then every 15 to 30 seconds, and never two at the same time.
        #expect((100...320).contains(fake.requests.entries.count - asked))
        #expect(reflector.objects?.keys.map(\.name).sorted() == ["a", "b"])
        try fake.put(pods, FakeKubernetes.pod("c"))
        await said.wait { $0.last == "changed" && $0.contains("recovered") }
        #expect(said.entries == ["changed", "unreachable", "recovered", "changed"])
        #expect(reflector.objects?.count == 3)
        #expect(reflector.counts.lists == 1)
    }

    @Test("A list of 500 MB is read object by object and does not stay in memory")
    func longList() async throws {
        let fake = try fakeKubernetes()
        let padding = String(repeating: "x", count: 1 << 20)
        let path = pods
        fake.answer { request in
            guard request.path == path, !request.isWatch else { return nil }
            return .pieces(502) { index in
                if index == 0 { return #"{"kind":"PodList","metadata":{"resourceVersion":"1000"},"items":["# }
                if index == 501 { return "]}\n" }
                let padding = #","annotations":{"p":"\#(padding)"}"#
                return (index == 1 ? "" : ",") + FakeKubernetes.pod("p-\(index)", metadata: padding)
            }
        }
        let before = Self.residentBytes
        let watched = WatchedDiscovery(fake)
        await watched.events.wait { $0.endpoints.last?.count == 500 }
        // An address sanitizer keeps 256 MB of what was freed.
        #expect(Self.residentBytes - before < 400 << 20)
        #expect(watched.counts().malformed == 0)
    }

    @Test("A list whose pages never end is no list")
    func endlessPages() async throws {
        let fake = try fakeKubernetes()
        let path = pods
        fake.answer { request in
            guard request.path == path, !request.isWatch else { return nil }
            return .status(200, body: #"{"metadata":{"resourceVersion":"1","continue":"more"},"items":[]}"#)
        }
        let watched = WatchedDiscovery(fake)
        await watched.events.wait { $0.failures.contains { $0.error.message.contains("does not end") } }
        #expect(watched.events.entries.endpoints.isEmpty)
        fake.answer(nil)
        await watched.expect([])
    }

    @Test("A watch whose time is up ends, and the next one goes on from there")
    func watchTimeout() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake) { $0.watchDuration = .seconds(1) }
        await watched.watching(count: 3)
        try await watched.settle("b")
        #expect(watched.counts().lists == 1)
        #expect(watched.events.entries.failures.isEmpty)
    }

    @Test("A server that does not know the pool's kind for a moment, as after its start, costs no endpoint")
    func kindUnknownForAMoment() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake) {
            $0.absenceDelay = .seconds(3600)
            $0.longestDelay = .milliseconds(5)
        }
        await watched.expect(["a-rank-0"])
        await watched.watching(FakeKubernetes.pools())
        let before = watched.events.entries.endpoints.count
        fake.answer { request in
            request.path == FakeKubernetes.pools() ? .status(404, body: "404 page not found\n") : nil
        }
        fake.endWatches()
        let asked = fake.requests.entries.filter { $0.path == FakeKubernetes.pools() }.count
        await fake.requests.wait { $0.filter { $0.path == FakeKubernetes.pools() }.count >= asked + 10 }
        #expect(watched.events.entries.missingCount == 0)
        fake.answer(nil)
        await watched.watching(FakeKubernetes.pools(), count: 2)
        try await watched.settle("b")
        #expect(watched.events.entries.endpoints[before...].allSatisfy { !$0.isEmpty })
        #expect(watched.events.entries.missingCount == 0)
    }

    @Test(
        "A kind counts as gone when it has been unknown for long without a break, not when two such moments are far apart"
    )
    func absencesApart() async throws {
        let fake = try fakeKubernetes()
        let http = HTTPClient()
        defer { http.shutdown() }
        let client = KubernetesClient(
            KubernetesAccess(server: fake.url),
            client: http,
            perSecond: 100_000,
            burst: 1000
        )
        let time = VirtualTime()
        var settings = ReflectorSettings()
        settings.clock = time.clock
        settings.mayBeAbsent = true
        let collection = KubernetesCollection(
            group: "inference.networking.k8s.io",
            version: "v1",
            namespace: "default",
            name: "inferencepools"
        )
        let reflector = Reflector<InferencePoolObject>(collection, client: client, settings: settings) { _ in }
        reflector.start()
        defer { reflector.stop() }
        await fake.requests.wait { $0.contains(where: \.isWatch) }
        // 404 and 503 by turns, for an hour.
        let start = time.now
        let isOver = EventLog<Int>()
        let turn = Lock(0)
        fake.answer { _ in
            if time.now.elapsed(since: start) >= .seconds(3600) {
                isOver.append(reflector.objects?.count ?? 0)
                return .status(503)
            }
            let isOdd = turn.withLock { turn in
                turn += 1
                return turn % 2 == 1
            }
            return .status(isOdd ? 404 : 503)
        }
        fake.cutWatches()
        await isOver.wait(forCount: 1)
        #expect(isOver.entries.first == 1)
        // And then nothing but 404.
        fake.answer { _ in .status(404) }
        let asked = fake.requests.entries.count
        await fake.requests.wait(forCount: asked + 20)
        #expect(reflector.objects?.isEmpty == true)
    }

    @Test(
        "A server that has too much to do says when to come back, and the place in the watch is kept",
        arguments: [429, 503, 504]
    )
    func busy(status: Int) async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching()
        fake.answer { request in
            request.isWatch ? .status(status, headers: [("retry-after", "1")]) : nil
        }
        fake.endWatches(pods)
        await watched.events.wait { $0.failures.contains { $0.kind == "pods" } }
        try fake.put(pods, FakeKubernetes.pod("b"))
        fake.answer(nil)
        await watched.expect(["a-rank-0", "b-rank-0"])
        #expect(watched.counts().lists == 1)
        let failure = watched.events.entries.failures.first { $0.kind == "pods" }
        #expect(failure?.error.retryAfter == .seconds(1))
    }

    private static var residentBytes: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS") } ?? ""
        return (Int(line.filter(\.isNumber)) ?? 0) << 10
    }
}
