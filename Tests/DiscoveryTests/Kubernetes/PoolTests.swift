import Configuration
import Discovery
import Pool
import TestSupport
import Testing

@Suite("Endpoints of an InferencePool", .timeLimit(.minutes(2)))
struct InferencePoolTests {
    @Test("Each ready pod is one endpoint per port, named by pod and rank, with its labels")
    func ranks() async throws {
        let fake = try FakeKubernetes()
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", ports: [8000, 8001, 8000]))
        try fake.put(
            FakeKubernetes.pods(),
            FakeKubernetes.pod("a", address: "10.0.0.7", labels: ["app": "vllm", "role": "x"])
        )
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b", address: "fd00::7"))
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0", "a-rank-1", "b-rank-0", "b-rank-1"])
        let first = try #require(watched.events.entries.endpoints.last?[1])
        #expect(first.namespace == "default")
        #expect(first.address == "10.0.0.7")
        #expect(first.port == 8001)
        #expect(first.labels == ["app": "vllm", "role": "x"])
    }

    @Test(
        "Pods that cannot take requests are none",
        arguments: [
            FakeKubernetes.pod("x", isReady: false),
            FakeKubernetes.pod("x", metadata: #","deletionTimestamp":"2026-01-01T00:00:00Z""#),
            FakeKubernetes.pod("x", address: ""),
            FakeKubernetes.pod("x", address: "not-an-address"),
            FakeKubernetes.pod("x", labels: ["app": "other"]),
            #"{"metadata":{"name":"x","labels":{"app":"vllm"}}}"#,
            #"{"metadata":{"name":"x","labels":{"app":"vllm"}},"status":{"podIP":"10.0.0.1","conditions":[]}}"#,
            #"{"metadata":{"name":"x","labels":{"app":"vllm"}},"status":{"podIP":7,"conditions":"Ready"}}"#,
            #"{"metadata":{"name":"x","labels":["app"]},"status":null}"#,
        ]
    )
    func unready(pod: String) async throws {
        let fake = try fakeKubernetes()
        try fake.put(FakeKubernetes.pods(), pod)
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("z"))
        let watched = WatchedDiscovery(fake)
        await watched.expect(["z-rank-0"])
    }

    @Test(
        "An annotation names the ports that a pod serves; ranks stay",
        arguments: [
            ("inference.networking.k8s.io/active-ports", "8001", ["a-rank-1"]),
            ("inference.networking.k8s.io/active-ports", " 8001 , 8002,9999, junk", ["a-rank-1", "a-rank-2"]),
            ("llm-d.ai/active-ports", "8000", ["a-rank-0"]), ("inference.networking.k8s.io/active-ports", "", []),
        ]
    )
    func activePorts(name: String, value: String, expected: [String]) async throws {
        let fake = try FakeKubernetes()
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", ports: [8000, 8001, 8002]))
        let annotations = #","annotations":{"other":"x","\#(name)":"\#(value)"}"#
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("a", metadata: annotations))
        let watched = WatchedDiscovery(fake)
        await watched.expect(expected)
    }

    @Test("Pods that come, change and go are followed")
    func changes() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching()
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b", isReady: false))
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b"))
        await watched.expect(["a-rank-0", "b-rank-0"])
        try fake.put(
            FakeKubernetes.pods(),
            FakeKubernetes.pod("a", metadata: #","deletionTimestamp":"2026-01-01T00:00:00Z""#)
        )
        await watched.expect(["b-rank-0"])
        fake.delete(FakeKubernetes.pods(), "a")
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b", labels: ["app": "other"]))
        await watched.expect([])
        #expect(watched.counts().lists == 1)
    }

    @Test("A pool that is not there is said once, has no endpoints, and is found when it comes; so is its end")
    func missing() async throws {
        let fake = try FakeKubernetes()
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("a"))
        let watched = WatchedDiscovery(fake)
        await watched.events.wait { $0.missingCount == 1 }
        // The kind is not even installed: it is looked for again and again.
        await fake.requests.wait { $0.filter { $0.path == FakeKubernetes.pools() }.count >= 3 }
        #expect(watched.events.entries.missingCount == 1)
        #expect(watched.events.entries.endpoints.isEmpty)
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("other"))
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool"))
        await watched.expect(["a-rank-0"])
        await watched.watching(FakeKubernetes.pools())
        fake.delete(FakeKubernetes.pools(), "pool")
        await watched.events.wait { $0.missingCount == 2 }
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", ports: [9000]))
        await watched.events.wait { $0.endpoints.last?.first?.port == 9000 }
    }

    @Test("Of two pools of one name in two namespaces only ours counts")
    func namespaces() async throws {
        let fake = try fakeKubernetes(["a"])
        try fake.put(FakeKubernetes.pools("prod"), FakeKubernetes.pool("pool", ports: [9000]))
        try fake.put(FakeKubernetes.pods("prod"), FakeKubernetes.pod("b"))
        let watched = WatchedDiscovery(fake, namespace: "prod")
        await watched.expect(["b-rank-0"])
        #expect(watched.events.entries.endpoints.last?.first?.namespace == "prod")
        #expect(watched.events.entries.endpoints.last?.first?.port == 9000)
    }

    @Test("Another selector or other ports take effect, without a moment in which nobody is there")
    func selector() async throws {
        let fake = try fakeKubernetes(["a"])
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b", labels: ["app": "sglang"]))
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await watched.watching(FakeKubernetes.pools())
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", labels: ["app": "sglang"]))
        await watched.expect(["b-rank-0"])
        try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", labels: ["app": "sglang"], ports: [1, 2]))
        await watched.expect(["b-rank-0", "b-rank-1"])
        #expect(watched.events.entries.endpoints.allSatisfy { !$0.isEmpty })
    }

    @Test(
        "A pool that lacks what makes it one counts as none",
        arguments: [
            #""spec":{}"#, #""spec":{"selector":{"matchLabels":{"a":"b"}},"targetPorts":[]}"#,
            #""spec":{"selector":{"matchLabels":{"a":"b"}},"targetPorts":[{"number":70000}]}"#,
            #""spec":{"selector":{},"targetPorts":[{"number":8000}]}"#, #""spec":7"#,
        ]
    )
    func malformed(rest: String) async throws {
        let fake = try FakeKubernetes()
        try fake.put(FakeKubernetes.pools(), #"{"metadata":{"name":"pool"},\#(rest)}"#)
        let watched = WatchedDiscovery(fake)
        await watched.events.wait { $0.missingCount == 1 && $0.malformedCount == 1 }
    }

    @Test("A pool of the older kind has one port, and labels without anything around them")
    func olderKind() async throws {
        let fake = try FakeKubernetes()
        let group = "inference.networking.x-k8s.io"
        try fake.put(
            "/apis/\(group)/v1alpha2/namespaces/default/inferencepools",
            #"{"metadata":{"name":"pool"},"spec":{"selector":{"app":"vllm"},"targetPortNumber":9000,"extensionRef":{"name":"epp"}}}"#
        )
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("a"))
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b", labels: ["app": "other"]))
        let watched = WatchedDiscovery(fake, source: .pool(name: "pool", group: group))
        await watched.expect(["a-rank-0"])
        #expect(watched.events.entries.endpoints.last?.first?.port == 9000)
    }

    @Test("Pods can be chosen without a pool")
    func selectorWithoutPool() async throws {
        let fake = try FakeKubernetes()
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("a"))
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b", labels: ["app": "other"]))
        let selector = try LabelSelector(parsing: "app=vllm")
        let watched = WatchedDiscovery(fake, source: .pods(selector, ports: [8000, 8001], poolName: nil))
        await watched.expect(["a-rank-0", "a-rank-1"])
        #expect(!fake.requests.entries.contains { $0.path == FakeKubernetes.pools() })
    }

    @Test("That a pool's pods speak another protocol than HTTP/1.1 is said once")
    func foreignProtocol() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        let pool = FakeKubernetes.pool("pool", ports: [8000, 8001])
        let foreign = pool.replacing(#""appProtocol":"http""#, with: #""appProtocol":"kubernetes.io/h2c""#)
        try fake.put(FakeKubernetes.pools(), foreign)
        await watched.expect(["a-rank-0", "a-rank-1"])
        try fake.put(FakeKubernetes.pools(), foreign.replacing("8001", with: "8002"))
        await watched.events.wait { $0.endpoints.last?.last?.port == 8002 }
        let said = watched.events.entries.compactMap { event in
            if case .foreignProtocol(let name) = event { name } else { nil }
        }
        #expect(said == ["kubernetes.io/h2c"])
    }

    @Test("An empty pool is known to be empty")
    func empty() async throws {
        let watched = WatchedDiscovery(try fakeKubernetes())
        await watched.expect([])
    }
}

@Suite("Objectives and rewrites from Kubernetes", .timeLimit(.minutes(2)))
struct KubernetesObjectiveTests {
    private func objective(_ name: String, _ spec: String) -> String {
        #"{"metadata":{"name":"\#(name)"},"spec":{\#(spec)}}"#
    }

    @Test("Objectives of both groups count when they are for the pool; llm-d's first")
    func objectives() async throws {
        let fake = try fakeKubernetes()
        let pool = #""poolRef":{"name":"pool"}"#
        try fake.put(FakeKubernetes.objectives(), objective("a", #""priority":-5,\#(pool)"#))
        try fake.put(FakeKubernetes.objectives(), objective("b", pool))
        try fake.put(FakeKubernetes.objectives(), objective("c", #""priority":9,"poolRef":{"name":"other"}"#))
        try fake.put(FakeKubernetes.objectives("llm-d.ai"), objective("a", #""priority":7,\#(pool)"#))
        try fake.put(
            FakeKubernetes.objectives("llm-d.ai"),
            objective("d", #""priority":1,"poolRefs":[{"name":"x"},{"name":"pool"}]"#)
        )
        try fake.put(
            FakeKubernetes.objectives("llm-d.ai"),
            objective(
                "e",
                #""priority":2,"poolSelector":{"matchExpressions":[{"key":"tier","operator":"In","values":["gold"]}]}"#
            )
        )
        let watched = WatchedDiscovery(fake)
        let expected = [
            InferenceObjective(name: "a", priority: 7), InferenceObjective(name: "d", priority: 1),
            InferenceObjective(name: "e", priority: 2), InferenceObjective(name: "a", priority: -5),
            InferenceObjective(name: "b", priority: 0),
        ]
        await watched.events.wait { events in
            events.contains { if case .objectives(let objectives) = $0 { objectives == expected } else { false } }
        }
    }

    @Test("Kinds that are not installed are no failure, and are found when they are; their end is noticed")
    func absent() async throws {
        let fake = try fakeKubernetes(["a"])
        let watched = WatchedDiscovery(fake)
        await watched.expect(["a-rank-0"])
        await fake.requests.wait { $0.filter { $0.path == FakeKubernetes.objectives() }.count >= 2 }
        #expect(watched.events.entries.failures.isEmpty)
        #expect(watched.counts("inferenceobjectives.llm-d.ai").failures == 0)
        try fake.put(FakeKubernetes.objectives(), objective("a", #""priority":3,"poolRef":{"name":"pool"}"#))
        await watched.events.wait { events in
            events.contains { if case .objectives(let all) = $0 { all.map(\.priority) == [3] } else { false } }
        }
        await watched.watching(FakeKubernetes.objectives())
        fake.uninstall(FakeKubernetes.objectives())
        await watched.events.wait { events in
            events.contains { if case .objectives(let all) = $0 { all.isEmpty } else { false } }
        }
    }

    @Test("Of several rewrites the oldest comes first; rules that cannot be understood are left out")
    func rewrites() async throws {
        let fake = try fakeKubernetes()
        func put(_ name: String, _ created: String, _ rules: String, group: String = "llm-d.ai") throws {
            try fake.put(
                FakeKubernetes.rewrites(group),
                #"{"metadata":{"name":"\#(name)","creationTimestamp":"\#(created)"},"spec":{"poolRef":{"name":"pool"},"rules":[\#(rules)]}}"#
            )
        }
        try put("young", "2026-02-01T00:00:00Z", #"{"targets":[{"modelRewrite":"y"}]}"#)
        try put(
            "old",
            "2026-01-01T00:00:00Z",
            #"""
            {"matches":[{"model":{"type":"Exact","value":"m"}},{"model":{"value":"n"}}],
             "targets":[{"modelRewrite":"x","weight":9},{"modelRewrite":"z","weight":1},{"weight":3}]},
            {"matches":[{"model":{"type":"Regex","value":".*"}}],"targets":[{"modelRewrite":"no"}]},
            {"matches":[],"targets":[]}
            """#,
            group: "inference.networking.x-k8s.io"
        )
        let watched = WatchedDiscovery(fake)
        let expected = [
            InferenceModelRewrite(
                name: "old",
                rules: [.init(models: ["m", "n"], targets: [.init("x", weight: 9), .init("z", weight: 1)])]
            ),
            InferenceModelRewrite(name: "young", rules: [.init(targets: [.init("y")])]),
        ]
        await watched.events.wait { events in
            events.contains { if case .modelRewrites(let rewrites) = $0 { rewrites == expected } else { false } }
        }
    }
}
