import Glibc

/// The model servers, and the contenders in front of them.
struct EnvoyParts {
    let upstream: ChildProcess
    private let upstreamPorts: [Int]
    private(set) var contenders: [EnvoyContender] = []
    /// Of contenders that are not installed, by their keys: a sentence that says so, and how to install them.
    private(set) var missing: [String: String] = [:]
    /// What those said that are installed and did not start.
    private(set) var faults: [String] = []
    /// Of the Envoy that is measured; nil when none of the contenders has one.
    private(set) var envoyVersion: String?

    /// Must be called on the main thread.
    init(_ options: EnvoyCommand.Options, _ progress: (String) -> Void) throws {
        upstream = try ChildProcess(
            sibling("apus-bench"),
            ["upstream", "--count", "\(options.upstreamCount)", "--chunks", "\(options.chunks)"]
        )
        let addresses = try upstream.wait(for: "listening on ", count: options.upstreamCount)
        let ports = addresses.compactMap { $0.split(separator: ":").last.flatMap { Int($0) } }
        upstreamPorts = ports

        let throughEnvoy = ["envoy", "bare", "apus"].filter(options.isWanted)
        if let envoy = options.envoy ?? EnvoyProcess.find() {
            for key in throughEnvoy { try add(key, envoy, addresses, options) }
        } else if !throughEnvoy.isEmpty {
            let sentence = "There is no Envoy: deploy/install-envoy.sh installs one, APUS_ENVOY names another."
            for key in throughEnvoy { missing[key] = sentence }
            faults.append(sentence)
        }
        for router in HTTPRouter.all where options.isWanted(router.key) { try add(router, options, progress) }
        // The first scrapes, so that every endpoint is known.
        usleep(500_000)
    }

    /// Envoy alone, or with the processor that `key` names.
    private mutating func add(
        _ key: String,
        _ envoy: String,
        _ addresses: [String],
        _ options: EnvoyCommand.Options
    ) throws {
        let title: String
        let processor: ChildProcess?
        switch key {
        case "bare":
            title = "Envoy + constant answers"
            processor = try ChildProcess(
                sibling("apus-bench"),
                ["bare-server", "--destinations", addresses.joined(separator: ",")]
            )
        case "apus":
            title = "Envoy + Apus"
            processor = try ChildProcess(
                options.apus,
                [
                    "--endpoints", addresses.joined(separator: ","), "--secure-serving=false", "--bind-address",
                    "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0", "--grpc-health-port", "0",
                ] + options.apusArguments
            )
        default: (title, processor) = ("Envoy alone", nil)
        }
        let address = try processor?.wait(for: "ext_proc listening on ").first
        let process = try EnvoyProcess(envoy, processor: address, upstreams: upstreamPorts)
        envoyVersion = process.version
        contenders.append(EnvoyContender(key, title, envoy: process, processor: processor, upstream: upstream))
    }

    private mutating func add(
        _ router: HTTPRouter,
        _ options: EnvoyCommand.Options,
        _ progress: (String) -> Void
    ) throws {
        guard let peer = options.peers[router.venv] else {
            missing[router.key] = Peers.missing(router.title)
            return
        }
        let title = peer.title(router.title)
        progress("starting \(title)")
        do {
            let (process, port) = try router.start(peer, upstreamPorts: upstreamPorts)
            contenders.append(EnvoyContender(router.key, title, router: process, port: port, upstream: upstream))
        } catch {
            faults.append("\(error)")
        }
    }

    /// Each once, in the order of the contenders.
    var missingSentences: [String] {
        var sentences: [String] = []
        for key in EnvoyCommand.contenders {
            if let sentence = missing[key], !sentences.contains(sentence) { sentences.append(sentence) }
        }
        return sentences
    }

    /// How the model servers answer from now on.
    func answer(asStream isStream: Bool) throws {
        guard let port = upstreamPorts.first else { return }
        try Loopback.awaitOK(port: port, isStream ? "/bench/stream" : "/bench/json")
    }
}
