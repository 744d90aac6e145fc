import Foundation
import TestSupport
import Testing

/// A fake API server with a pool whose pods are simulated model servers: each serves one of the pool's ports on 127.0.0.1.
private struct Cluster: Sendable {
    let fake: FakeKubernetes
    let folder: TemporaryDirectory
    let environment: [String: String]

    init() throws {
        fake = try FakeKubernetes()
        folder = try TemporaryDirectory()
        environment = ["KUBECONFIG": try folder.write(fake.kubeconfig(), to: "kubeconfig"), "NAMESPACE": ""]
    }

    /// A deployment whose endpoints come from here; `initial` of the servers are ready pods from the start.
    func plan(servers: Int = 3, initial: Int, isAuthenticated: Bool = false, _ arguments: [String] = [])
        -> Deployment.Plan
    {
        var plan = Deployment.Plan()
        plan.killable = true
        plan.servers = servers
        plan.environment = environment
        plan.apus = arguments
        plan.endpoints = { ports, _ in
            try fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool", ports: ports))
            for port in ports[..<initial] { try put(port) }
            return ["--pool-name=pool", "--metrics-endpoint-auth=\(isAuthenticated)"]
        }
        return plan
    }

    func put(_ port: Int, isReady: Bool = true) throws {
        let annotation = #","annotations":{"inference.networking.k8s.io/active-ports":"\#(port)"}"#
        try fake.put(
            FakeKubernetes.pods(),
            FakeKubernetes.pod(name(port), address: "127.0.0.1", isReady: isReady, metadata: annotation)
        )
    }

    private func name(_ port: Int) -> String { "server-\(port)" }
}

@Suite("Endpoints from Kubernetes", .serialized, .showsLogs)
struct KubernetesTests {
    @Test("A pool's name is all it takes; endpoints are named after pods; while the API is away requests go on")
    func pool() async throws {
        let cluster = try Cluster()
        try await withDeployment(cluster.plan(initial: 2)) { deployment in
            let ports = deployment.servers.map(\.port)
            try await deployment.apus.waitUntilFresh(Array(ports[..<2]))
            let endpoints = try await deployment.apus.endpoints()
            #expect(endpoints.count == 2)
            #expect(endpoints[ports[0]]?["name"].string == "server-\(ports[0])-rank-0")
            #expect(endpoints[ports[1]]?["name"].string == "server-\(ports[1])-rank-1")
            #expect(endpoints[ports[0]]?["namespace"].string == "default")
            #expect(try await deployment.apus.page("/readyz").status == 200)
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
            cluster.fake.setDown(true)
            _ = try await deployment.apus.process.waitForLine(containing: "Kubernetes does not tell of pods")
            for _ in 0..<5 { #expect(try await deployment.send(Ask.completion()).response.status == 200) }
            cluster.fake.setDown(false)
            try cluster.put(ports[2])
            try await eventually("the third pod is seen") { try await deployment.apus.endpoints().count == 3 }
        }
    }

    @Test("Without its pool Apus is not ready, says so once, and is ready when there is one")
    func missingPool() async throws {
        let cluster = try Cluster()
        cluster.fake.install(FakeKubernetes.pools())
        let apus = try await Apus(
            ["--pool-name=pool", "--metrics-endpoint-auth=false"],
            environment: cluster.environment
        )
        _ = try await apus.process.waitForLine(containing: "there is no such InferencePool")
        #expect(try await apus.page("/readyz").status == 503)
        #expect(try await apus.page("/readyz").text == "there is no such pool\n")
        try cluster.fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool"))
        try await eventually("ready") { try await apus.page("/readyz").status == 200 }
        #expect(apus.process.output.split(separator: "\n").filter { $0.contains("no such InferencePool") }.count == 1)
        #expect(try await apus.process.terminate() == .exited(0))
    }

    @Test("A pod that flaps is an endpoint while it is ready and no longer, and does not fill the log")
    func flapping() async throws {
        let cluster = try Cluster()
        try await withDeployment(cluster.plan(servers: 2, initial: 2)) { deployment in
            let ports = deployment.servers.map(\.port)
            try await deployment.apus.waitUntilFresh(ports)
            for round in 0..<60 {
                try cluster.put(ports[1], isReady: round % 2 == 1)
                try await eventually("the change is seen") {
                    try await (deployment.apus.endpoints()[ports[1]] != nil) == (round % 2 == 1)
                }
                // Whichever of the two is there must serve it.
                #expect(try await deployment.send(Ask.completion()).response.status == 200)
            }
            let lines = deployment.apus.process.output.split(separator: "\n")
            #expect(lines.filter { $0.contains("endpoints changed") }.count < 30)
        }
    }

    @Test("Objectives give priorities and rewrites change models, from the moment that Kubernetes tells of them")
    func objectives() async throws {
        let cluster = try Cluster()
        cluster.fake.install(FakeKubernetes.objectives())
        cluster.fake.install(FakeKubernetes.rewrites())
        try await withDeployment(cluster.plan(servers: 1, initial: 1)) { deployment in
            try await deployment.apus.waitUntilFresh()
            try cluster.fake.put(
                FakeKubernetes.objectives(),
                #"{"metadata":{"name":"sql-lora"},"spec":{"priority":2,"poolRef":{"name":"pool"}}}"#
            )
            try cluster.fake.put(
                FakeKubernetes.rewrites(),
                #"""
                {"metadata":{"name":"rewrite-test"},"spec":{"poolRef":{"name":"pool"},"rules":[{"matches":
                [{"model":{"type":"Exact","value":"model-to-be-rewritten"}}],"targets":[{"modelRewrite":"demo"}]}]}}
                """#
            )
            try await eventually("both are known") {
                let page = try await JSON(text: deployment.apus.page("/debug/config").text)
                return page["objectives"].array.count == 1 && page["modelRewrites"].array.count == 1
            }
            let request = Ask.completion(
                model: "model-to-be-rewritten",
                headers: [("x-gateway-inference-objective", "sql-lora")]
            )
            let (id, response) = try await deployment.send(request)
            #expect(response.status == 200)
            #expect(try await deployment.arrival(id).request["model"].string == "demo")
            let series =
                #"inference_objective_request_total{model_name="model-to-be-rewritten",priority="2",target_model_name="demo"}"#
            try await eventually("the request is counted") { try await deployment.apus.metric(series) == 1 }
        }
    }

    @Test("Only whom Kubernetes lets reads metrics; health is for everybody")
    func metricsAuthentication() async throws {
        let cluster = try Cluster()
        try await withDeployment(cluster.plan(servers: 1, initial: 1, isAuthenticated: true)) { deployment in
            cluster.fake.know(token: "prometheus", user: "prometheus", paths: ["/metrics"])
            cluster.fake.know(token: "stranger", user: "stranger")
            func status(_ path: String, _ token: String?) async throws -> Int {
                var request = TestRequest("GET", path)
                if let token { request.headers.append(("authorization", "Bearer \(token)")) }
                return try await HTTPTestClient(port: deployment.apus.metricsPort).send(request).status
            }
            #expect(try await status("/metrics", "prometheus") == 200)
            #expect(try await status("/metrics", nil) == 401)
            #expect(try await status("/metrics", "nobody") == 401)
            #expect(try await status("/metrics", "stranger") == 403)
            #expect(try await status("/debug/endpoints", "prometheus") == 403)
            #expect(try await status("/healthz", nil) == 200)
            try await eventually("ready") { try await status("/readyz", nil) == 200 }
        }
    }

    @Test("Of two replicas one is ready; when it ends, the other one takes over while its endpoints are known already")
    func leaderElection() async throws {
        let cluster = try Cluster()
        try cluster.fake.put(FakeKubernetes.pools(), FakeKubernetes.pool("pool"))
        try cluster.fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("a", address: "127.0.0.1"))
        let arguments = ["--pool-name=pool", "--metrics-endpoint-auth=false", "--ha-enable-leader-election"]
        let first = try await Apus(arguments, environment: cluster.environment)
        try await eventually("the first leads") { try await first.page("/readyz").status == 200 }
        let second = try await Apus(arguments, environment: cluster.environment)
        _ = try await second.process.waitForLine(containing: "standing by")
        try await eventually("the second knows the pod") { try await second.endpoints().count == 1 }
        #expect(try await second.page("/readyz").text == "another replica leads\n")
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        #expect(
            cluster.fake.object(leases, "epp-default-pool.gateway-api-inference-extension.sigs.k8s.io") != nil
        )
        #expect(try await first.process.terminate() == .exited(0))
        try await eventually("the second leads") { try await second.page("/readyz").status == 200 }
        #expect(try await second.process.terminate() == .exited(0))
    }

    @Test(
        "Flags that make no sense together are errors",
        arguments: [
            (["--pool-name=a", "--endpoint-selector=a=b"], "exclude each other"),
            (["--endpoint-selector=a=b"], "needs 1 to 8 ports"),
            (["--endpoint-selector=a=b", "--endpoint-target-ports=0"], "is no port"),
            (["--endpoint-selector=a b", "--endpoint-target-ports=8000"], "is no requirement on labels"),
            (["--endpoints=127.0.0.1:1", "--ha-enable-leader-election"], "needs endpoints from Kubernetes"),
        ]
    )
    func refused(arguments: [String], words: String) async throws {
        let cluster = try Cluster()
        let process = try ChildProcess(
            Products.executable("apus"),
            Apus.standardArguments + arguments,
            environment: cluster.environment
        )
        _ = try await process.waitForLine(containing: words)
        #expect(try await process.waitForExit() == .exited(1))
    }
}
