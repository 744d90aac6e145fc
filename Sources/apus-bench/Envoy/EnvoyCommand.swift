import Glibc

/// `apus-bench envoy`: requests through a real Envoy with and without Apus, and through other routers, in turn.
enum EnvoyCommand {
    private static let help = """
        usage: apus-bench envoy [OPTIONS]

          --short             every step once and small; the figures mean nothing
          --rounds 5          rounds; the contenders take turns in each
          --contenders A,B    of envoy, bare, apus, vllm-router-round_robin, vllm-router-cache_aware,
                              sglang-router-round_robin, sglang-router-cache_aware; default: all that are installed
          --sizes A,B         bytes of the request bodies; default: 2048,10000,220000
          --answers A,B       json, stream; default: both
          --envoy PATH        default: $APUS_ENVOY, or what deploy/install-envoy.sh has installed
          --apus PATH         the program to measure; default: beside this one
          --apus-argument ARG one more argument for it; may be repeated
          --json              JSON instead of the text
          --html FILE         also write a page with tables and plots

        Envoy alone, Envoy with a server of constant answers, Envoy with Apus, and HTTP routers, all in front of the same
        model servers: latency with one connection and at 200 requests/s, throughput and CPU of every part at 16 connections.
        deploy/bench-peers.sh installs the routers; without them the others are measured.

        """

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
        var peers = Peers()

        func isWanted(_ contender: String) -> Bool { contenders.isEmpty || contenders.contains(contender) }

        init(_ run: BenchRun) {
            plan = run.scaled(EnvoyPlan(), short: .short)
            plan.rounds = run.rounds()
            sizes = run.scaled(sizes, short: [2048, 220_000])
            apus = run.apus
        }
    }

    /// The keys of all contenders.
    static let contenders = ["envoy", "bare", "apus"] + HTTPRouter.all.map(\.key)

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help", "short", "json"])
        if arguments.flag("help") { return write(help, to: 1) }
        let asJSON = arguments.flag("json")
        let output = try ReportOutput(&arguments)
        var options = Options(output.run)
        func list(_ name: String) -> [String]? {
            arguments.string(name).map { $0.split(separator: ",").map { String($0) } }
        }
        options.contenders = try list("contenders").map { try check($0, "--contenders", contenders) } ?? []
        options.answers = try list("answers").map { try check($0, "--answers", ["json", "stream"]) } ?? options.answers
        options.sizes = try list("sizes")?.map { try size($0) } ?? options.sizes
        options.envoy = arguments.string("envoy")
        options.apusArguments = arguments.strings("apus-argument")
        try arguments.finish()

        let (start, wanted) = (RunStart(), options)
        let suite = ReportSuite(key: "envoy", summary: "", section: { try measure(wanted, progress: $0.progress) })
        try output.deliver(Report([suite.sectionOrFault(output.run)], run: output.run, start: start), asJSON: asJSON)
    }

    private static func check(_ words: [String], _ option: String, _ known: [String]) throws -> [String] {
        for word in words where !known.contains(word) {
            throw BenchError("\(option) takes \(known.joined(separator: ", ")), not \(word)")
        }
        return words
    }

    private static func size(_ word: String) throws -> Int {
        guard let size = Int(word), 128...3_000_000 ~= size else {
            throw BenchError("--sizes takes numbers from 128 to 3000000, not \(word)")
        }
        return size
    }

    /// The suite of the report.
    static func section(_ run: BenchRun) throws -> Section {
        try measure(Options(run), progress: run.progress)
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
                for contender in parts.contenders.inTurn(ofRound: round) {
                    try contender.measure(workload, options.plan)
                }
                progress("round \(round + 1), \(workload.title)")
            }
        }
        return EnvoyReport(options: options, workloads: workloads, parts: parts).section
    }
}
