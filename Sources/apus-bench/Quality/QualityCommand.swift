import RoutingSimulation

/// Suite `quality`: how well requests are routed, in virtual time.
enum QualityCommand {
    struct Options {
        /// The policies' constants were chosen on seeds 1 to 5; figures are quoted of others.
        static let firstSeed = 11

        var seeds: [UInt64] = []
        var workloads = Workloads.keys + [replicasKey]
        var policies = RoutingPolicy.all
        /// Of the workloads: 1 for figures that are quoted.
        var length = 1.0
        /// How many pickers the comparison of replicas has.
        var replicas = [1, 2, 4, 8]
    }

    static let replicasKey = "replicas"

    private static let help = """
        usage: apus-bench quality [OPTIONS]

          --workload A,B,…  these only: \((Workloads.keys + [replicasKey, "day"]).joined(separator: ", "))
          --policy A,B,…    these only: \(policies.map(\.key).joined(separator: ", "))
          --config FILE     a policy more: what Apus does with this configuration; may be repeated
          --rounds N        seeds; 5 unless said otherwise
          --seed N          the first of them, \(Options.firstSeed) unless said otherwise: the default policy was made with seeds 1 to 5
          --short           small, in seconds: the figures mean nothing
          --json            JSON instead of text
          --html FILE       also write a page with tables and plots

        The real scheduler, pool, prefix index and admission route modelled requests to modelled servers. `replicas` has several
        pickers before one pool. `day`, a day of 1,000 servers, is run only when it is named. The same seeds give the same figures.

        """

    private static var policies: [RoutingPolicy] { RoutingPolicy.all + [.referenceScorers] }

    static func section(_ run: BenchRun) throws -> Section {
        try measure(options(run), progress: run.progress)
    }

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help", "short", "json"])
        if arguments.flag("help") { return write(help, to: 1) }
        let asJSON = arguments.flag("json")
        let workloads = arguments.string("workload")?.split(separator: ",").map(String.init)
        let names = arguments.string("policy")?.split(separator: ",").map(String.init)
        let files = arguments.strings("config")
        let first = try arguments.integer("seed", default: Options.firstSeed, in: 1...1_000_000_000)
        let output = try ReportOutput(&arguments)
        try arguments.finish()
        var options = options(output.run, from: first)
        options.workloads = workloads ?? options.workloads
        if let names {
            options.policies = try names.map { name in
                guard let policy = policies.first(where: { $0.key == name }) else {
                    throw BenchError("there is no policy \(name)")
                }
                return policy
            }
        }
        for file in files {
            guard let text = readFile(file) else { throw BenchError("cannot read \(file)") }
            guard let policy = RoutingPolicy.configured(file, text) else {
                throw BenchError("\(file) is not right; apus check \(file) says what is wrong")
            }
            options.policies.append(policy)
        }
        let start = RunStart()
        let section = try measure(options, progress: output.run.progress)
        try output.deliver(Report([section], run: output.run, start: start), asJSON: asJSON)
    }

    private static func options(_ run: BenchRun, from first: Int = Options.firstSeed) -> Options {
        var options = Options()
        options.seeds = (0..<run.rounds()).map { UInt64(first + $0) }
        guard run.scale == .short else { return options }
        options.workloads = ["grid", "chat", "lora", "dying", "disaggregated", replicasKey]
        options.length = 0.02
        options.replicas = [1, 2]
        return options
    }

    static func measure(_ options: Options, progress: (String) -> Void) throws -> Section {
        var section = Section(
            key: "quality",
            title: "how well requests are routed, in virtual time",
            method: method(options)
        )
        var comparisons: [QualityComparison] = []
        for key in options.workloads where key != replicasKey {
            var comparison = try QualityComparison(key, options.policies, options)
            for policy in options.policies { try comparison.run(policy, progress: progress) }
            section.tables += comparison.tables
            section.charts += comparison.charts
            section.goals += comparison.goals
            section.faults += comparison.faults
            comparisons.append(comparison)
        }
        if comparisons.count > 1 { section.charts.append(QualityComparison.overview(comparisons)) }
        if options.workloads.contains(replicasKey) {
            var replicas = ReplicaComparison(options)
            try replicas.run(progress: progress)
            section.tables += replicas.tables
            section.charts += replicas.charts
            section.faults += replicas.faults
        }
        return section
    }

    private static func method(_ options: Options) -> [String] {
        [
            "Virtual time, seeds \(options.seeds.map(String.init).joined(separator: ", ")); every policy gets the same requests. Scheduling, Pool, Admission and the prefix index are "
                + "Apus's own code; servers and requests are modelled. Pages are asked for every 50 ms and seen 5 ms later.",
            "A server stands for a 32-billion-parameter model on two H100 under vLLM: 11.6 ms a step, 65 µs a prompt token, 39 ns a token of context, "
                + "307,328 tokens of KV memory, 256 sequences, 8,192 tokens a step in chunks; its page tells the state after its latest step.",
            "Reference: queue-scorer 2, kv-cache-utilization-scorer 2, prefix-cache-scorer 3 over the pages alone. Least request and power of two know "
                + "what is in flight. The oracle knows every cache, queue and length, and picks where the first token is expected first; it is greedy.",
            "Imbalance is the busiest server's time of computing over the mean. Noise in goals is half of the spread of the seeds' ratios.",
        ]
    }
}
