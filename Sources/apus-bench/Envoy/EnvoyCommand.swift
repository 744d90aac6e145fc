import Glibc

/// `apus-bench envoy`: requests through a real Envoy with and without Apus, and through other routers, in turn.
enum EnvoyCommand {
    struct Options {
        var plan = EnvoyPlan()
        var sizes = [2048, 10_000, 220_000]
        var answers = ["json", "stream"]
        /// Keys of contenders; all that are there when empty.
        var contenders: [String] = []
        var apus = sibling("apus")
        var apusArguments: [String] = []
        var envoy: String?
        var upstreamCount = 4
        let chunks = 100
    }

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["short"])
        var options = Options()
        if arguments.flag("short") {
            options.plan = EnvoyPlan(
                rounds: 1,
                warmUpSeconds: 0.2,
                singleSeconds: 0.2,
                openSeconds: 0.5,
                busySeconds: 0.3
            )
        }
        options.plan.rounds = try arguments.integer("rounds", default: options.plan.rounds)
        if let s = arguments.string("contenders") { options.contenders = s.split(separator: ",").map { String($0) } }
        if let s = arguments.string("answers") { options.answers = s.split(separator: ",").map { String($0) } }
        if let s = arguments.string("sizes") { options.sizes = s.split(separator: ",").compactMap { Int($0) } }
        options.apus = arguments.string("apus") ?? options.apus
        options.envoy = arguments.string("envoy")
        try arguments.finish()
        let section = try measure(options) { write($0 + "\n", to: 2) }
        printSection(section)
    }

    static func measure(_ options: Options, progress: (String) -> Void) throws -> Section {
        let parts = try EnvoyParts(options, progress)
        let answers = UpstreamAnswers(chunks: options.chunks)
        let workloads = options.answers.flatMap { answer in
            options.sizes.map { size in
                let isStream = answer == "stream"
                return EnvoyWorkload(
                    bodyBytes: size,
                    isStream: isStream,
                    answerBytes: isStream ? answers.streamBodyBytes : answers.jsonBodyBytes,
                    hasCrowd: !isStream && size >= 100_000
                )
            }
        }
        for workload in workloads {
            try parts.answer(asStream: workload.isStream)
            for contender in parts.contenders { try contender.warmUp(workload, options.plan) }
        }
        for round in 0..<options.plan.rounds {
            for workload in workloads {
                try parts.answer(asStream: workload.isStream)
                // Nobody is always first.
                for offset in parts.contenders.indices {
                    let contender = parts.contenders[(round + offset) % parts.contenders.count]
                    try contender.measure(workload, options.plan)
                }
                progress("envoy: round \(round + 1), \(workload.title)")
            }
        }
        return EnvoyReport(options: options, workloads: workloads, parts: parts).section
    }
}

/// The model servers, and the contenders in front of them.
struct EnvoyParts {
    let upstream: ChildProcess
    private let upstreamPorts: [Int]
    private(set) var contenders: [EnvoyContender] = []
    /// Sentences about contenders that are not installed.
    private(set) var missing: [String] = []
    /// What those said that are installed and did not start.
    private(set) var faults: [String] = []

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
        if isWanted("envoy") {
            let process = try EnvoyProcess(envoy, processor: nil, upstreams: ports)
            contenders.append(
                EnvoyContender("envoy", "Envoy alone", envoy: process, processor: nil, upstream: upstream)
            )
        }
        if isWanted("bare") {
            let bare = try ChildProcess(
                sibling("apus-bench"),
                ["bare-server", "--destinations", addresses.joined(separator: ",")]
            )
            let process = try EnvoyProcess(
                envoy,
                processor: bare.wait(for: "ext_proc listening on ")[0],
                upstreams: ports
            )
            contenders.append(
                EnvoyContender("bare", "Envoy + constant answers", envoy: process, processor: bare, upstream: upstream)
            )
        }
        if isWanted("apus") {
            let apus = try ChildProcess(
                options.apus,
                [
                    "--endpoints", addresses.joined(separator: ","), "--secure-serving=false", "--bind-address",
                    "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0", "--grpc-health-port", "0",
                ] + options.apusArguments
            )
            let process = try EnvoyProcess(
                envoy,
                processor: apus.wait(for: "ext_proc listening on ")[0],
                upstreams: ports
            )
            contenders.append(
                EnvoyContender("apus", "Envoy + Apus", envoy: process, processor: apus, upstream: upstream)
            )
        }
        for router in HTTPRouter.all where isWanted(router.key) {
            guard let program = router.program else {
                missing.append("\(router.title) is not installed: deploy/bench-peers.sh does that.")
                continue
            }
            progress("envoy: starting \(router.title)")
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

func printSection(_ section: Section) {
    for line in section.method { write(line + "\n", to: 1) }
    for table in section.tables {
        write("\n\(table.title)\n", to: 1)
        write("".padded(to: 34) + table.columns.map { $0.title.padded(to: 24) }.joined() + "\n", to: 1)
        for row in table.rows {
            write(
                row.title.padded(to: 34)
                    + zip(table.columns, row.values).map { c, v in
                        (v.map { $0.median.fixed(c.digits) } ?? "-").padded(to: 24)
                    }.joined() + "\n",
                to: 1
            )
        }
    }
    for goal in section.goals {
        write(
            "\(goal.isMet ? "met " : "MISS") \(goal.title): \(goal.value.fixed(goal.digits)) (\(goal.limit))\n",
            to: 1
        )
    }
    for fault in section.faults { write("FAULT \(fault)\n", to: 1) }
}
