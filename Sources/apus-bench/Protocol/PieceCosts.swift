/// What a piece of a streamed response costs: what many cost more than few, divided by how many more they are.
struct PieceCosts {
    /// How many pieces the two measurements had.
    let few: Int
    let many: Int
    /// By the number of pieces: the servers, the bare one first. Each piece sent when the one before was answered.
    let paced: [Int: [Contender]]
    /// The same with all pieces sent at once.
    let bursts: [Int: [Contender]]

    private struct Limit {
        let name: String
        let mode: String
        let microseconds: Double
    }

    private static let limits = [
        Limit(name: "apus", mode: "full", microseconds: 6), Limit(name: "apus, tail", mode: "tail", microseconds: 2),
    ]

    /// Adds the table, the chart and the goals.
    func conclude(_ section: inout Section) {
        var table = Table(
            title: "A piece of a streamed response (what \(many.grouped) cost more than \(few.grouped), each)",
            key: "chunks",
            columns: [
                Table.Column(title: "CPU", key: "cpu_us", unit: "µs/piece", digits: 2),
                Table.Column(title: "over the bare server's", key: "more_us", unit: "µs/piece", digits: 2),
                Table.Column(title: "switches", key: "context_switches", unit: "1/piece", digits: 3),
                Table.Column(title: "client CPU", key: "client_cpu_us", unit: "µs/piece", digits: 2),
            ]
        )
        var series: [Chart.Series] = []
        for (manner, key, found) in [("one by one", "paced", paced), ("at once", "burst", bursts)] {
            guard let servers = found[many], let others = found[few], let bare = servers.first,
                let bareFew = others.first
            else { continue }
            let floor = each(\.cpuMicroseconds, bare, bareFew)
            var points: [Chart.Point] = []
            for (place, (server, other)) in zip(servers, others).enumerated() {
                let cpu = each(\.cpuMicroseconds, server, other)
                let more = zip(cpu, floor).map { $0 - $1 }
                table.rows.append(
                    Table.Row(
                        title: "\(server.name), \(manner)",
                        key: "\(server.name):\(key)",
                        values: [
                            Spread(cpu), place == 0 ? nil : Spread(more),
                            Spread(each(\.contextSwitches, server, other)),
                            Spread(each(\.clientCPUMicroseconds, server, other)),
                        ]
                    )
                )
                points.append(Chart.Point(x: Double(place), y: Spread(cpu)))
                for limit in Self.limits where limit.name == server.name {
                    section.goals.append(
                        Goal(
                            title: "CPU of a streamed response's piece, \(limit.mode), \(manner)",
                            key: "chunk_\(limit.mode)_\(key)_us",
                            unit: "µs",
                            value: Spread(cpu).median,
                            limit: limit.microseconds,
                            digits: 2,
                            reason: "The bare server, which only sends each piece back, takes "
                                + "\(Spread(floor).median.fixed(2)) µs in the same run."
                        )
                    )
                }
            }
            series.append(Chart.Series(name: manner, points: points))
        }
        section.tables.append(table)
        section.charts.append(
            Chart(
                title: "CPU of one piece of a streamed response",
                x: Chart.Axis(title: "", unit: ""),
                y: Chart.Axis(title: "server CPU", unit: "µs per piece"),
                groups: paced[many]?.map(\.name) ?? [],
                series: series
            )
        )
    }

    /// Of each round.
    private func each(_ value: KeyPath<Contender.Round, Double>, _ server: Contender, _ other: Contender) -> [Double] {
        zip(server.rounds, other.rounds).map { ($0[keyPath: value] - $1[keyPath: value]) / Double(many - few) }
    }
}
