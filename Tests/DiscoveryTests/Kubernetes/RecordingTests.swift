import Discovery
import Pool
import TestSupport
import Testing

@Suite("What a real API server told during a rolling update, told again", .timeLimit(.minutes(2)))
struct RecordingTests {
    /// What happens besides.
    enum Trouble: CaseIterable, Sendable {
        case none
        /// The list comes in pages of two.
        case pages
        /// The connection breaks after every change.
        case cuts
        /// The server has forgotten, after every change, where to go on.
        case expirations
    }

    @Test("After every line the endpoints are the pods that are ready and nobody ends", arguments: Trouble.allCases)
    func endpoints(trouble: Trouble) async throws {
        let recording = try KubernetesRecording("rolling-update")
        let fake = try FakeKubernetes()
        try fake.load(recording)
        let source = KubernetesDiscovery.Source.pool(name: "vllm", group: "inference.networking.k8s.io")
        let watched = WatchedDiscovery(fake, source: source, namespace: "models") { settings in
            if trouble == .pages { settings.pageSize = 2 }
        }
        var pods = recording.pods
        var expected = [Self.endpoints(of: pods)]
        await watched.expect(endpoints: expected[0])
        // Until its watch begins, the server has only the list to tell.
        await watched.watching(recording.path)
        for event in recording.events {
            try fake.play(event, of: recording)
            event.apply(to: &pods)
            let now = Self.endpoints(of: pods)
            if now == expected.last { continue }
            expected.append(now)
            await watched.expect(endpoints: now)
            if trouble == .expirations {
                fake.answer { request in
                    guard request.isWatch, request.path == recording.path else { return nil }
                    fake.answer(nil)
                    return .status(410, body: #"{"kind":"Status","code":410,"reason":"Expired"}"#)
                }
            }
            if trouble == .cuts || trouble == .expirations { fake.cutWatches(recording.path) }
        }
        // The last lines change nothing; something that comes after them shows that they have been read.
        let last = FakeKubernetes.pod("last", address: "127.1.1.1")
        try fake.put(recording.path, last)
        let end = EndpointDescription(
            name: "last-rank-0",
            namespace: "models",
            address: "127.1.1.1",
            port: 8000,
            labels: ["app": "vllm"]
        )
        expected.append((Self.endpoints(of: pods) + [end]).sorted { $0.name < $1.name })
        await watched.expect(endpoints: expected[expected.count - 1])
        #expect(watched.events.entries.endpoints == expected)
        let counts = watched.counts()
        #expect(counts.lists == (trouble == .expirations ? counts.expirations + 1 : 1))
        #expect(counts.malformed == 0)
        #expect(counts.failures == 0)
        if trouble != .expirations { #expect(counts.stale == 0) }
        #expect(watched.events.entries.failures.isEmpty)
    }

    @Test(
        "The recording holds what a rolling update is about, and at no time fewer endpoints than the Deployment wants"
    )
    func recording() throws {
        let recording = try KubernetesRecording("rolling-update")
        var pods = recording.pods
        let old = Set(pods.keys)
        #expect(old.count == 4)
        var kinds: [String: Int] = [:]
        for event in recording.events {
            kinds[event.type, default: 0] += 1
            event.apply(to: &pods)
            let count = Self.endpoints(of: pods).count
            #expect((4...5).contains(count))
        }
        #expect(kinds["ADDED"] == 4 && kinds["DELETED"] == 4 && kinds["BOOKMARK"] ?? 0 > 0)
        #expect(pods.count == 4 && old.isDisjoint(with: pods.keys))
    }

    private static func endpoints(of pods: [String: KubernetesRecording.Pod]) -> [EndpointDescription] {
        pods.values.filter(\.takesRequests).sorted { $0.name < $1.name }.map { pod in
            EndpointDescription(
                name: "\(pod.name)-rank-0",
                namespace: pod.namespace,
                address: pod.address,
                port: 8000,
                labels: pod.labels
            )
        }
    }
}

extension WatchedDiscovery {
    fileprivate func expect(endpoints: [EndpointDescription]) async {
        await events.wait { $0.endpoints.last == endpoints }
    }
}
