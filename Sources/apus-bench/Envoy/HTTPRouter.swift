/// A router that users would run in the place of Envoy and a picker.
struct HTTPRouter {
    let key: String
    let title: String
    /// The venv below the peers' directory, and the arguments of its Python.
    let venv: String
    let arguments: [String]

    /// With the cheapest of their policies, and with the one that does what Apus does.
    static let all = ["round_robin", "cache_aware"].flatMap { policy in
        [
            HTTPRouter(
                key: "vllm-router-\(policy)",
                title: "vllm-router 0.1.17, \(policy)",
                venv: "vllm-router",
                arguments: ["-m", "vllm_router.launch_router", "--policy", policy, "--log-level", "warning"]
            ),
            HTTPRouter(
                key: "sglang-router-\(policy)",
                title: "sglang-router 0.3.2, \(policy)",
                venv: "sglang-router",
                arguments: ["-m", "sglang_router.launch_router", "--policy", policy, "--log-level", "warn"]
            ),
        ]
    }

    /// Starts it on ports that were free a moment ago; returns when it answers. Must be called on the main thread.
    func start(_ peer: Peers.Peer, upstreamPorts: [Int]) throws -> (process: ChildProcess, port: Int) {
        let port = try Loopback.freePort()
        let process = try ChildProcess(
            peer.python,
            arguments + [
                "--host", "127.0.0.1", "--port", "\(port)", "--prometheus-host", "127.0.0.1",
                "--prometheus-port", "\(try Loopback.freePort())", "--worker-startup-check-interval", "1",
                "--worker-urls",
            ] + upstreamPorts.map { "http://127.0.0.1:\($0)" }
        )
        do {
            try Loopback.awaitOK(port: port, "/health")
        } catch {
            throw BenchError("\(title) does not answer: \(error); it said:\n\(process.output.suffix(2000))")
        }
        return (process, port)
    }
}
