import Glibc

/// The model servers, and the contenders in front of them.
struct EnvoyParts {
    let upstream: ChildProcess
    private let upstreamPorts: [Int]
    private(set) var contenders: [EnvoyContender] = []
    /// Sentences about contenders that are not installed.
    private(set) var missing: [String] = []
    /// What those said that are installed and did not start.
    private(set) var faults: [String] = []
    /// Of the Envoy that is measured; nil when none of the contenders has one.
    private(set) var envoyVersion: String?

    /// Must be called on the main thread.
    init(_ options: EnvoyCommand.Options, _ progress: (String) -> Void) throws {
        guard let envoy = options.envoy ?? EnvoyProcess.find() else {
            throw BenchError("there is no Envoy: run deploy/install-envoy.sh, or name one in APUS_ENVOY")
        }
        upstream = try ChildProcess(
            sibling("apus-bench"),
            ["upstream", "--count", "\(options.upstreamCount)", "--chunks", "\(options.chunks)"]
        )
        let addresses = try upstream.wait(for: "listening on ", count: options.upstreamCount)
        let ports = addresses.compactMap { $0.split(separator: ":").last.flatMap { Int($0) } }
        upstreamPorts = ports

        func isWanted(_ key: String) -> Bool { options.contenders.isEmpty || options.contenders.contains(key) }
        func add(_ key: String, _ title: String, processor: ChildProcess?) throws {
            let address = try processor?.wait(for: "ext_proc listening on ").first
            let process = try EnvoyProcess(envoy, processor: address, upstreams: ports)
            envoyVersion = process.version
            contenders.append(
                EnvoyContender(key, title, envoy: process, processor: processor, upstream: upstream)
            )
        }
        if isWanted("envoy") { try add("envoy", "Envoy alone", processor: nil) }
        if isWanted("bare") {
            let bare = try ChildProcess(
                sibling("apus-bench"),
                ["bare-server", "--destinations", addresses.joined(separator: ",")]
            )
            try add("bare", "Envoy + constant answers", processor: bare)
        }
        if isWanted("apus") {
            let apus = try ChildProcess(
                options.apus,
                [
                    "--endpoints", addresses.joined(separator: ","), "--secure-serving=false", "--bind-address",
                    "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0", "--grpc-health-port", "0",
                ] + options.apusArguments
            )
            try add("apus", "Envoy + Apus", processor: apus)
        }
        for router in HTTPRouter.all where isWanted(router.key) {
            guard let program = router.program else {
                missing.append("\(router.title) is not installed: deploy/bench-peers.sh does that.")
                continue
            }
            progress("starting \(router.title)")
            do {
                let (process, port) = try router.start(program, upstreamPorts: ports)
                contenders.append(
                    EnvoyContender(router.key, router.title, router: process, port: port, upstream: upstream)
                )
            } catch {
                faults.append("\(error)")
            }
        }
        // The first scrapes, so that every endpoint is known.
        usleep(500_000)
    }

    /// How the model servers answer from now on.
    func answer(asStream isStream: Bool) throws {
        guard let port = upstreamPorts.first else { return }
        try Loopback.awaitOK(port: port, isStream ? "/bench/stream" : "/bench/json")
    }
}
