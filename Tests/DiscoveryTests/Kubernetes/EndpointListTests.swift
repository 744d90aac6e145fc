import Bytes
import Discovery
import Pool
import TestSupport
import Testing

@Suite("Endpoints that are kept up pod by pod", .timeLimit(.minutes(2)))
struct EndpointListTests {
    private let pods = FakeKubernetes.pods()
    /// Some begin as others' endpoints are called.
    private let names = ["a", "a-1", "a-rank-0", "a-rank-0-rank-1", "b", "b0", "c-rank-1", "d"]

    private func change(_ fake: FakeKubernetes, _ generator: inout SeededGenerator) throws {
        let name = names.randomElement(using: &generator) ?? "a"
        switch Int.random(in: 0..<10, using: &generator) {
        case 0, 1: fake.delete(pods, name)
        case 2: try fake.put(pods, FakeKubernetes.pod(name, isReady: false))
        case 3: try fake.put(pods, FakeKubernetes.pod(name, labels: ["app": "other"]))
        case 4: try fake.put(pods, FakeKubernetes.pod(name, labels: ["app": "vllm", "role": "decode"]))
        case 5:
            let port = Int.random(in: 8000...8002, using: &generator)
            let annotation = #","annotations":{"inference.networking.k8s.io/active-ports":"\#(port)"}"#
            try fake.put(pods, FakeKubernetes.pod(name, metadata: annotation))
        case 6:
            let ports = Array([8000, 8001, 8002].shuffled(using: &generator).prefix(2))
            try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", ports: ports))
        case 7: fake.endWatches(pods)
        default:
            let address = "10.0.0.\(Int.random(in: 1...9, using: &generator))"
            try fake.put(pods, FakeKubernetes.pod(name, address: address))
        }
    }

    @Test("They are those that a list would bring, whatever happened", arguments: 0..<8 as Range<UInt64>)
    func changes(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let fake = try fakeKubernetes(["a", "b"])
        let watched = WatchedDiscovery(fake)
        await watched.watching()
        for round in 0..<10 {
            for _ in 0..<Int.random(in: 1...12, using: &generator) { try change(fake, &generator) }
            try await watched.settle("z-\(round)")
            let other = WatchedDiscovery(fake)
            await other.events.wait { !$0.endpoints.isEmpty }
            let listed = try #require(other.events.entries.endpoints.last)
            await watched.events.wait { $0.endpoints.last == listed }
        }
        #expect(watched.counts().lists == 1)
    }
}
