import Glibc

/// Apus over gRPC without Envoy, beside a server that does not think: sizes of bodies, pieces of responses, streams in flight, headers.
enum ProtocolSuite {
    /// How often each measurement is made.
    struct Plan {
        let rounds: Int
        /// Few requests in flight, and hardly more of them than are in flight.
        let isShort: Bool

        init(_ run: BenchRun) {
            rounds = run.rounds()
            isShort = run.scale == .short
        }
    }

    static func section(_ run: BenchRun) throws -> Section {
        let plan = Plan(run)
        let fleet = try Fleet(run, count: 10)
        let servers = try ProtocolServers(fleet)
        defer { withExtendedLifetime((fleet, servers)) {} }
        var section = Section(
            key: "protocol",
            title: "one gRPC stream a request, without Envoy",
            method: [
                "The load generator is one thread of this program: it sends the frames that Envoy 1.40 sends with both bodies "
                    + "FULL_DUPLEX_STREAMED (request bodies in pieces of 64 KiB and an empty last one, each event of a stream in a "
                    + "frame of its own, sent when the one before has been answered, as tokens come; "
                    + "where it says so all at once).",
                "Apus has its default scorers and 10 scraped endpoints; the bare server answers the same frames with constants "
                    + "and as many bytes as came. Both have one poller, and take turns in each of \(plan.rounds.of("round")), another one first each time.",
                "Where nothing else is said: 2 KB bodies, 15 headers, one JSON response, 32 streams in flight.",
            ]
        )
        try ProtocolBodies.measure(&section, servers, plan, run)
        try ProtocolResponses.measure(&section, servers, plan, run)
        try ProtocolStreams.measure(&section, servers, plan, run)
        return section
    }
}

/// The servers that the suite measures: the bare one, and apus with each `responseProcessing`.
struct ProtocolServers {
    struct Server {
        let name: String
        let pid: pid_t
        let address: String
        /// Runs as long as this.
        private let process: AnyObject

        init(_ name: String, _ apus: ApusProcess) {
            self.name = name
            pid = apus.pid
            address = apus.address
            process = apus
        }

        /// The server that answers with constants and as many bytes as came.
        init(bare name: String) throws {
            self.name = name
            let bare = try ChildProcess(
                sibling("apus-bench"),
                ["bare-server", "--io-threads", "1", "--destinations", "127.0.0.1:8000"]
            )
            pid = bare.pid
            address = try bare.wait(for: "ext_proc listening on ")[0]
            process = bare
        }
    }

    let bare: Server
    let full: Server
    let tail: Server
    let headers: Server

    init(_ fleet: Fleet) throws {
        bare = try Server(bare: "bare server")
        full = Server("apus", try fleet.startApus())
        tail = Server("apus, tail", try fleet.startApus("responseProcessing: tail"))
        headers = Server("apus, headers", try fleet.startApus("responseProcessing: headers"))
    }
}

/// One row of the suite's tables: servers under one load, in turn.
struct ProtocolCase {
    let title: String
    let key: String
    var shape = LoadShape()
    var concurrency = 32
    /// Of a full round.
    var requests = 4000

    /// Measures all rounds. What failed is added to the section's faults.
    func measure(
        _ servers: [ProtocolServers.Server],
        _ section: inout Section,
        _ plan: ProtocolSuite.Plan,
        _ run: BenchRun
    ) throws -> [Contender] {
        let families = Frames.families(shape, atMost: plan.isShort ? 4 : 64)
        let contenders = servers.map { server in
            Contender(
                server.name,
                server.pid,
                LoadClient(target: server.address, connections: 1, families: families)
            )
        }
        // At least as many as are in flight, or there would never be so many.
        let inFlight = plan.isShort && concurrency <= 64 ? min(concurrency, 2) : concurrency
        let count = max(plan.isShort ? requests / 100 : requests, inFlight)
        for contender in contenders {
            contender.warmUp(requests: plan.isShort ? inFlight : max(count / 5, inFlight), concurrency: inFlight)
        }
        for round in 0..<plan.rounds {
            for contender in contenders.inTurn(ofRound: round) {
                try contender.measure(requests: count, concurrency: inFlight)
            }
        }
        run.progress(
            "protocol: \(title): "
                + contenders.map { "\($0.name) \($0.spread(\.cpuMicroseconds).text(1)) µs" }.joined(separator: ", ")
        )
        section.faults += contenders.flatMap { contender in contender.faults.map { "\(title), \($0)" } }
        return contenders
    }

    /// The columns of `rows`.
    static let columns = [
        Table.Column(title: "CPU", key: "cpu_us", unit: "µs/request"),
        Table.Column(title: "of the bare server's", key: "cpu_ratio", unit: "", digits: 2),
        Table.Column(title: "pick p50", key: "pick_p50_ms", unit: "ms", digits: 2),
        Table.Column(title: "pick p99", key: "pick_p99_ms", unit: "ms", digits: 2),
        Table.Column(title: "stream p50", key: "p50_ms", unit: "ms", digits: 2),
        Table.Column(title: "stream p99", key: "p99_ms", unit: "ms", digits: 2),
        Table.Column(title: "throughput", key: "requests_per_second", unit: "1/s", digits: 0),
        Table.Column(title: "client CPU", key: "client_cpu_us", unit: "µs/request"),
    ]

    /// A row for each server; ratios are to the first one's CPU in the same round.
    func rows(_ contenders: [Contender]) -> [Table.Row] {
        contenders.enumerated().map { place, contender in
            let ratio = place == 0 ? nil : Self.ratio(contender, contenders[0])
            let rest: [KeyPath<Contender.Round, Double>] = [
                \.pickP50Milliseconds, \.pickP99Milliseconds, \.p50Milliseconds, \.p99Milliseconds, \.requestsPerSecond,
                \.clientCPUMicroseconds,
            ]
            return Table.Row(
                title: "\(title), \(contender.name)",
                key: "\(key):\(contender.name)",
                values: [contender.spread(\.cpuMicroseconds), ratio] + rest.map { contender.spread($0) }
            )
        }
    }

    static func ratio(_ one: Contender, _ other: Contender) -> Spread {
        Spread(zip(one.rounds, other.rounds).map { $0.cpuMicroseconds / max($1.cpuMicroseconds, 0.001) })
    }
}
