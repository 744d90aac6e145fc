/// Responses of one body and of many pieces, with each `responseProcessing`.
enum ProtocolResponses {
    private static let few = 100
    private static let many = 1000

    static func measure(
        _ section: inout Section,
        _ servers: ProtocolServers,
        _ plan: ProtocolSuite.Plan,
        _ run: BenchRun
    ) throws {
        var table = Table(title: "Responses", key: "responses", columns: ProtocolCase.columns)
        table.columns += [
            Table.Column(title: "piece p50", key: "chunk_p50_ms", unit: "ms", digits: 3),
            Table.Column(title: "piece p99", key: "chunk_p99_ms", unit: "ms", digits: 3),
        ]
        var streamed: [Int: [Contender]] = [:]
        for (title, response, requests) in [
            ("JSON", LoadShape.Response.json, 4000), ("100 chunks", .events(few), 400),
            ("1,000 chunks", .events(many), 64),
        ] {
            var place = ProtocolCase(title: title, key: title, requests: requests)
            place.shape.response = response
            let contenders = try place.measure([servers.bare, servers.full, servers.tail], &section, plan, run)
            if case .events(let count) = response { streamed[count] = contenders }
            table.rows += zip(place.rows(contenders), contenders).map { row, contender in
                let pieces =
                    streamed.isEmpty
                    ? [nil, nil] : [contender.spread(\.chunkP50Milliseconds), contender.spread(\.chunkP99Milliseconds)]
                return Table.Row(title: row.title, key: row.key, values: row.values + pieces)
            }
        }
        var place = ProtocolCase(title: "any, body not sent by Envoy", key: "unseen")
        place.shape.response = .unseen
        place.shape.isBuffered = true
        let unseen = try place.measure([servers.headers], &section, plan, run)
        table.rows += place.rows(unseen).map {
            Table.Row(title: $0.title, key: $0.key, values: $0.values + [nil, nil])
        }
        section.tables.append(table)
        section.method.append(
            "With `headers` Envoy keeps the response's body to itself, whatever its pieces; request bodies are BUFFERED then, and the "
                + "bare server has no part in it."
        )
        conclude(&section, streamed[few] ?? [], streamed[many] ?? [])
    }

    /// The cost of a piece: what 1,000 pieces cost more than 100, divided by 900.
    private static func conclude(_ section: inout Section, _ few: [Contender], _ many: [Contender]) {
        var table = Table(
            title: "A piece of a streamed response (what \(Self.many.grouped) cost more than \(Self.few), each)",
            key: "chunks",
            columns: [
                Table.Column(title: "CPU", key: "cpu_us", unit: "µs/piece", digits: 2),
                Table.Column(title: "switches", key: "context_switches", unit: "1/piece", digits: 3),
                Table.Column(title: "client CPU", key: "client_cpu_us", unit: "µs/piece", digits: 2),
            ]
        )
        var bars: [Chart.Point] = []
        // The first is the bare server's.
        var floor: Spread?
        let limits = [("apus", "full", 6.0), ("apus, tail", "tail", 2.0)]
        for (place, (few, many)) in zip(few, many).enumerated() {
            func each(_ value: KeyPath<Contender.Round, Double>) -> Spread {
                Spread(
                    zip(many.rounds, few.rounds).map {
                        ($0[keyPath: value] - $1[keyPath: value]) / Double(Self.many - Self.few)
                    }
                )
            }
            let cpu = each(\.cpuMicroseconds)
            if floor == nil { floor = cpu }
            table.rows.append(
                Table.Row(
                    title: many.name,
                    key: many.name,
                    values: [cpu, each(\.contextSwitches), each(\.clientCPUMicroseconds)]
                )
            )
            bars.append(Chart.Point(x: Double(place), y: cpu))
            for (name, mode, limit) in limits where name == many.name {
                section.goals.append(
                    Goal(
                        title: "CPU of a streamed response's piece, `\(mode)`",
                        key: "chunk_\(mode)_us",
                        unit: "µs",
                        value: cpu.median,
                        limit: limit,
                        digits: 2,
                        reason: floor.map {
                            "The server that only sends each piece back takes \($0.median.fixed(2)) µs in the same run."
                        }
                    )
                )
            }
        }
        section.tables.append(table)
        section.charts.append(
            Chart(
                title: "CPU of one piece of a streamed response",
                x: Chart.Axis(title: "", unit: ""),
                y: Chart.Axis(title: "server CPU", unit: "µs per piece"),
                groups: many.map(\.name),
                series: [Chart.Series(name: "piece", points: bars)]
            )
        )
    }
}
