import Discovery
import Pool
import SubRequests
import TestSupport

/// A discovery over a fake API server, and what it said.
final class WatchedDiscovery: Sendable {
    let fake: FakeKubernetes
    let events = EventLog<KubernetesDiscovery.Event>()
    let http = HTTPClient()
    let client: KubernetesClient
    let discovery: KubernetesDiscovery

    static let pool = KubernetesDiscovery.Source.pool(name: "pool", group: "inference.networking.k8s.io")

    init(
        _ fake: FakeKubernetes,
        source: KubernetesDiscovery.Source = WatchedDiscovery.pool,
        namespace: String = "default",
        _ change: (inout ReflectorSettings) -> Void = { _ in }
    ) {
        self.fake = fake
        client = KubernetesClient(KubernetesAccess(server: fake.url, credential: .token("secret")), client: http)
        var settings = KubernetesDiscovery.Settings(source, namespace: namespace)
        settings.reflector.firstDelay = .milliseconds(5)
        settings.reflector.longestDelay = .milliseconds(50)
        settings.reflector.absenceDelay = .milliseconds(20)
        change(&settings.reflector)
        discovery = KubernetesDiscovery(settings, client: client) { [events] in events.append($0) }
        discovery.start()
    }

    deinit {
        discovery.stop()
        http.shutdown()
    }

    /// Waits until the latest endpoints are these.
    func expect(_ names: [String]) async {
        await events.wait { $0.endpoints.last.map { $0.map(\.name) } == names }
    }

    /// Waits until a watch of the collection is open, the `count`th one.
    func watching(_ path: String = FakeKubernetes.pods(), count: Int = 1) async {
        await fake.requests.wait { $0.filter { $0.isWatch && $0.path == path }.count >= count }
    }

    /// Waits for the next pod to be known, so that everything sent before has been seen.
    func settle(_ name: String) async throws {
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod(name))
        await events.wait { $0.endpoints.last?.contains { $0.name == "\(name)-rank-0" } ?? false }
    }

    func counts(_ kind: String = "pods") -> ReflectorCounts { discovery.counts[kind] ?? ReflectorCounts() }
}

extension [KubernetesDiscovery.Event] {
    var endpoints: [[EndpointDescription]] {
        compactMap { if case .endpoints(let endpoints) = $0 { endpoints } else { nil } }
    }

    var failures: [(kind: String, error: KubernetesError)] {
        compactMap { if case .failing(let kind, let error) = $0 { (kind, error) } else { nil } }
    }

    var missingCount: Int { filter { if case .poolMissing = $0 { true } else { false } }.count }
    var malformedCount: Int { filter { if case .malformed = $0 { true } else { false } }.count }
}

/// A fake with a pool on port 8000 and these pods.
func fakeKubernetes(_ pods: [String] = []) throws -> FakeKubernetes {
    let fake = try FakeKubernetes()
    try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool"))
    for (index, name) in pods.enumerated() {
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod(name, address: "10.0.0.\(index + 1)"))
    }
    return fake
}
