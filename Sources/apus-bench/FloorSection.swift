/// What `floor` found, for the reports.
enum FloorSection {
    private static var columns: [(column: Table.Column, value: KeyPath<Contender.Round, Double>)] {
        [
            (Table.Column(title: "server CPU", key: "cpu_us", unit: "µs/request"), \.cpuMicroseconds),
            (Table.Column(title: "switches", key: "context_switches", unit: "1/request", digits: 3), \.contextSwitches),
            (Table.Column(title: "pick p50", key: "pick_p50_ms", unit: "ms", digits: 2), \.pickP50Milliseconds),
            (Table.Column(title: "pick p99", key: "pick_p99_ms", unit: "ms", digits: 2), \.pickP99Milliseconds),
            (Table.Column(title: "stream p50", key: "p50_ms", unit: "ms", digits: 2), \.p50Milliseconds),
            (Table.Column(title: "stream p99", key: "p99_ms", unit: "ms", digits: 2), \.p99Milliseconds),
            (
                Table.Column(title: "throughput", key: "requests_per_second", unit: "1/s", digits: 0),
                \.requestsPerSecond
            ),
            (Table.Column(title: "client CPU", key: "client_cpu_us", unit: "µs/request"), \.clientCPUMicroseconds),
        ]
    }

    static func make(_ contenders: [Contender], _ options: FloorCommand.Options) -> Section {
        var section = Section(
            key: "floor",
            title: "one small request over gRPC, beside a server that does not think",
            method: [
                "\(options.requests.grouped) requests × \(options.rounds.of("round")), the servers in turn, another one first each round; "
                    + "\(options.concurrency.of("stream")) in flight on \(options.connections.of("connection")), "
                    + "\(options.bodyBytes) byte bodies, one JSON response, \(options.ioThreads.of("poller")) a server.",
                "The load generator plays Envoy's part and is one thread of this program. The bare server answers the same "
                    + "frames with constants over the same transport.",
            ]
        )
        section.tables = [servers(contenders), threads(contenders)]
        if let ratio = ratio(contenders) {
            section.goals = [
                Goal(
                    title: "CPU per request over the bare server's",
                    key: "cpu_ratio",
                    unit: "",
                    value: ratio.median,
                    limit: 1.5,
                    digits: 2,
                    reason: whatApusAdds(to: contenders[0], contenders[1])
                )
            ]
        }
        section.faults = contenders.flatMap(\.faults)
        return section
    }

    private static func servers(_ contenders: [Contender]) -> Table {
        var table = Table(title: "Servers", key: "servers", columns: columns.map(\.column))
        table.columns.append(Table.Column(title: "resident", key: "resident_mib", unit: "MiB"))
        for contender in contenders {
            let values = columns.map { Optional(contender.spread($0.value)) }
            let resident = Spread([Double(contender.residentBytes) / 1_048_576])
            table.rows.append(Table.Row(title: contender.name, key: contender.name, values: values + [resident]))
        }
        return table
    }

    private static func threads(_ contenders: [Contender]) -> Table {
        var table = Table(
            title: "By thread",
            key: "threads",
            columns: [
                Table.Column(title: "CPU", key: "cpu_us", unit: "µs/request"),
                Table.Column(title: "switches", key: "context_switches", unit: "1/request", digits: 3),
            ]
        )
        for contender in contenders {
            for name in contender.threadNames {
                let shares = contender.rounds.map { $0.threads[name] ?? (cpuMicroseconds: 0, contextSwitches: 0) }
                table.rows.append(
                    Table.Row(
                        title: "\(contender.name): \(name)",
                        key: "\(contender.name):\(name)",
                        values: [Spread(shares.map(\.cpuMicroseconds)), Spread(shares.map(\.contextSwitches))]
                    )
                )
            }
        }
        return table
    }

    /// Why Apus takes more than the bare server.
    static func whatApusAdds(to bare: Contender, _ apus: Contender) -> String {
        let more = apus.spread(\.cpuMicroseconds).median - bare.spread(\.cpuMicroseconds).median
        return "Apus takes \(more.fixed(0)) µs more: it reads and hashes the body, decides, counts what is in flight, "
            + "reads the usage from the response, keeps its metrics, writes a line of access log, and scrapes."
    }

    /// Of each round apus's CPU over the bare server's.
    private static func ratio(_ contenders: [Contender]) -> Spread? {
        guard contenders.count == 2 else { return nil }
        let pairs = zip(contenders[1].rounds, contenders[0].rounds)
        return Spread(pairs.map { $0.cpuMicroseconds / max($1.cpuMicroseconds, 0.001) })
    }
}
