import Glibc

/// Suite `select`: the choice of an endpoint alone, next to Dynamo's selection service.
enum SelectCommand {
    struct Options {
        var rounds = 5
        var endpoints = [8, 100]
        /// Blocks of 16 tokens; 0 is a prompt of one token.
        var blocks = [0, 32, 256, 6_250]
        /// How many blocks, all in all, one measurement decides about.
        var work = 400_000
        var apus = sibling("apus")
        var peers = Peers()
    }

    /// The suite of the report.
    static func section(_ run: BenchRun) throws -> Section {
        var options = Options()
        options.rounds = run.rounds()
        options.work = run.scaled(options.work, short: 20_000)
        options.apus = run.apus
        return try measure(options, progress: run.progress)
    }

    static func measure(_ options: Options, progress: (String) -> Void) throws -> Section {
        var section = Section(key: "select", title: "The decision alone, next to Dynamo's selection service")
        let peer = options.peers[DynamoService.venv]
        section.method = method(options, hasPeer: peer != nil)
        for endpoints in options.endpoints {
            let bench = try SelectBench(options, endpoints: endpoints, peer: peer)
            for round in 1...options.rounds {
                for blocks in options.blocks { try bench.measure(blocks: blocks) }
                progress("round \(round), \(endpoints) endpoints")
            }
            for blocks in options.blocks { section.tables.append(bench.table(blocks: blocks)) }
            section.goals += options.blocks.filter { $0 > 0 }.flatMap { bench.goals(blocks: $0) }
            section.charts.append(bench.chart)
            section.faults += bench.faults
        }
        try large(options, &section)
        return section
    }

    /// 3,750 blocks that 96 endpoints hold more and more of.
    private static func large(_ options: Options, _ section: inout Section) throws {
        guard let prompt = try SelectInProcess.prompts(SelectPrompts(blocks: 3_750, count: 1)).first else { return }
        let repetitions = max(20, options.work / 1_000)
        func measure(_ scorers: SelectInProcess.Scorers) throws -> Spread {
            let decider = SelectInProcess(endpoints: 96, scorers)
            decider.spread(prompt)
            return Spread(
                try (0..<options.rounds).map { _ in
                    try cpuMicroseconds(per: repetitions) {
                        for _ in 0..<repetitions { try decider.decide(prompt.hashes) }
                    }
                }
            )
        }
        let (own, reference) = (try measure(.builtIn), try measure(.reference))
        section.tables.append(
            Table(
                title: "3,750 blocks, 96 endpoints that hold more and more of them",
                key: "3750_96",
                columns: [Table.Column(title: "CPU per decision", key: "cpu_us", unit: "µs")],
                rows: [
                    Table.Row(title: "Apus in process, hashes given", key: "in_process", values: [own]),
                    Table.Row(
                        title: "the same with the reference's scorers",
                        key: "in_process_reference",
                        values: [reference]
                    ),
                ]
            )
        )
        section.goals.append(
            Goal(
                title: "A decision about 3,750 blocks × 96 endpoints, in process",
                key: "cpu_3750_96_us",
                unit: "µs",
                value: own.median,
                limit: 117
            )
        )
    }

    private static func method(_ options: Options, hasPeer: Bool) -> [String] {
        [
            "Prompts are token ids as JSON, 16 of them in turn, which share their first quarter; blocks of 16 tokens. "
                + "0 blocks: a prompt of one token, which shows what the way to the decision costs without one.",
            hasPeer
                ? "\(DynamoService.title): POST /select over HTTP/1.1 on loopback, two indexer threads. It reads JSON, hashes the blocks, matches "
                    + "them against what it reserved before (DYN_ROUTER_USE_KV_EVENTS=false) and chooses; it reserves and remembers "
                    + "nothing. With hashes given, the caller has hashed: 64-bit numbers of blocks and of sequences instead of tokens. "
                    + "CPU is that of its process."
                : Peers.missing(DynamoService.title),
            "Apus through ext_proc: gRPC on loopback, the request's headers, its body in frames of 32 KiB, the replies (the body goes back, too), "
                + "half-close; Apus's default scorer. It also reserves, remembers the prompt and logs, and its blocks hold at least 64 tokens. Endpoints are scraped once a second. "
                + "CPU is that of its process.",
            "In process, from the body: the same without transport and log, in blocks of 16 tokens, as many as the peer's. "
                + "Hashes given: choosing and reserving alone. CPU is that of this process, which does nothing else then. "
                + "Apus's default scorer, by which goals are judged, and in rows of their own the three of the reference's default.",
            "Less the way: less what the same service takes for a prompt of one token.",
            "p50: one request at a time. CPU: 16 in flight. Who asks are the generators of `envoy` and `floor`, one thread. "
                + "Dynamo and Apus take turns; \(options.rounds.of("round")), medians.",
        ]
    }
}
