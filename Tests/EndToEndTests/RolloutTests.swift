import Bytes
import TestSupport
import Testing

/// The model servers of pods, each on its pod's address and all on one port.
private final class PodServers: Sendable {
    let port: Int
    private let servers: Lock<[String: Simulators]>

    init(_ addresses: [String]) async throws {
        var servers: [String: Simulators] = [:]
        var port = 0
        for address in addresses {
            let server = try await Simulators(["--address", address, "--port", "\(port)"])
            port = server.ports[0]
            servers[address] = server
        }
        self.port = port
        self.servers = Lock(servers)
    }

    func start(_ address: String) async throws {
        let server = try await Simulators(["--address", address, "--port", "\(port)"])
        servers.withLock { $0[address] = server }
    }

    /// Asks the server to end, as a kubelet does; it cuts what it still has.
    func terminate(_ address: String) async throws {
        guard let server = servers.withLock({ $0.removeValue(forKey: address) }) else {
            throw TestFailure("no server on \(address)")
        }
        #expect(try await server.process.terminate() == .exited(0))
    }
}

/// Clients that ask one request after the other.
private final class Traffic: Sendable {
    private let begun = EventLog<Int>()
    private let ended = EventLog<Int>()
    private let failures = EventLog<String>()
    private let stop = EventLog<Bool>()
    private let tasks: Lock<[Task<Void, Never>]>

    init(_ deployment: Deployment, clients: Int) {
        tasks = Lock([])
        tasks.withLock { [begun, ended, failures, stop] tasks in
            for client in 0..<clients {
                let task = Task {
                    var number = client
                    while stop.entries.isEmpty, !Task.isCancelled {
                        begun.append(number)
                        let request = Ask.completion("What is \(number)?", stream: number % 2 == 0, tokens: 20)
                        do {
                            let response = try await deployment.send(request).response
                            if response.status != 200 { failures.append("\(response.status) \(response.text)") }
                        } catch {
                            failures.append("\(error)")
                        }
                        ended.append(number)
                        number += clients
                    }
                }
                tasks.append(task)
            }
        }
    }

    /// Waits until all requests have been answered that have been sent so far, and later ones, too.
    func pass() async {
        let sent = Set(begun.entries)
        await ended.wait { ended in
            ended.contains { !sent.contains($0) } && sent.isSubset(of: ended)
        }
    }

    /// Ends the clients, and returns how many requests were sent and what has failed.
    func end() async -> (sent: Int, failures: [String]) {
        stop.append(true)
        for task in tasks.withLock({ $0 }) { await task.value }
        return (begun.entries.count, failures.entries)
    }
}

@Suite("A rolling update as a real API server told it", .serialized, .showsLogs, .timeLimit(.minutes(5)))
struct RolloutTests {
    @Test("While a Deployment is rolled over, pod by pod, every request is answered")
    func rollout() async throws {
        let recorded = try KubernetesRecording("rolling-update").pods
        let servers = try await PodServers(recorded.values.map(\.address))
        // Of the recording only the pool's port is changed.
        let recording = try KubernetesRecording("rolling-update", port: servers.port)
        let fake = try FakeKubernetes()
        try fake.load(recording)
        let folder = try TemporaryDirectory()
        var plan = Deployment.Plan()
        plan.servers = 0
        let kubeconfig = try folder.write(fake.kubeconfig(namespace: "models"), to: "kubeconfig")
        plan.environment = ["KUBECONFIG": kubeconfig, "NAMESPACE": ""]
        plan.endpoints = { _, _ in ["--pool-name=vllm", "--metrics-endpoint-auth=false"] }
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            var pods = recording.pods
            try await eventually("the pods of the list are endpoints") {
                try await deployment.addresses() == takingRequests(pods)
            }
            let traffic = Traffic(deployment, clients: 4)
            for event in recording.events {
                let before = takingRequests(pods)
                event.apply(to: &pods)
                let now = takingRequests(pods)
                // A server listens before its pod is ready, and not a moment earlier than that.
                for address in now.subtracting(before) { try await servers.start(address) }
                try fake.play(event, of: recording)
                try await eventually("the endpoints are those of the pods") {
                    try await deployment.addresses() == now
                }
                // Requests that are sent now, and those that were under way.
                await traffic.pass()
                // The pause before a container is stopped is as long as what had been sent there takes.
                for address in before.subtracting(now) { try await servers.terminate(address) }
                #expect(try await deployment.addresses() == now)
            }
            let new = takingRequests(pods)
            #expect(new.isDisjoint(with: takingRequests(recording.pods)))
            try await eventually("every new pod gets requests") {
                try await deployment.pickedAddresses().isSuperset(of: new)
            }
            let (sent, failures) = await traffic.end()
            #expect(failures.isEmpty)
            #expect(sent > recording.events.count)
        }
    }
}

private func takingRequests(_ pods: [String: KubernetesRecording.Pod]) -> Set<String> {
    Set(pods.values.filter(\.takesRequests).map(\.address))
}

extension Deployment {
    /// Of the endpoints that Apus knows.
    fileprivate func addresses() async throws -> Set<String> {
        let list = try await JSON(text: apus.page("/debug/endpoints").text)["endpoints"].array
        return Set(list.compactMap { $0["address"].string })
    }

    /// Where the latest requests went.
    fileprivate func pickedAddresses() async throws -> Set<String> {
        let decisions = try await JSON(text: apus.page("/debug/decisions").text)["decisions"].array
        let picked = decisions.flatMap { $0["profiles"].array.last?["picked"].array ?? [] }
        return Set(picked.compactMap { $0.string?.split(separator: ":").first.map(String.init) })
    }
}
