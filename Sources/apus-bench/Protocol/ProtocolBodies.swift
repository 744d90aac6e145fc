/// Request bodies from half a kilobyte to four megabytes.
enum ProtocolBodies {
    private static let sizes: [(bytes: Int, title: String, requests: Int)] = [
        (500, "0.5 KB", 4000), (2_000, "2 KB", 4000), (10_000, "10 KB", 3000), (100_000, "100 KB", 1500),
        (220_000, "220 KB", 1000), (400_000, "400 KB", 600), (4_000_000, "4 MB", 80),
    ]

    static func measure(
        _ section: inout Section,
        _ servers: ProtocolServers,
        _ plan: ProtocolSuite.Plan,
        _ run: BenchRun
    ) throws {
        var table = Table(title: "Request bodies", key: "bodies", columns: ProtocolCase.columns)
        var cpu: [String: [Chart.Point]] = [:]
        for size in sizes {
            let shape = LoadShape(bodyBytes: size.bytes)
            let place = ProtocolCase(title: size.title, key: "\(size.bytes)", shape: shape, requests: size.requests)
            let contenders = try place.measure([servers.bare, servers.full], &section, plan, run)
            table.rows += place.rows(contenders)
            for contender in contenders {
                cpu[contender.name, default: []].append(
                    Chart.Point(x: Double(size.bytes) / 1000, y: contender.spread(\.cpuMicroseconds))
                )
            }
            guard size.bytes == 2_000 else { continue }
            section.goals.append(
                Goal(
                    title: "CPU of a 2 KB request over the bare server's",
                    key: "cpu_ratio",
                    unit: "",
                    value: ProtocolCase.ratio(contenders[1], contenders[0]).median,
                    limit: 1.5,
                    digits: 2,
                    reason: FloorSection.whatApusAdds(to: contenders[0], contenders[1])
                )
            )
        }
        section.tables.append(table)
        section.charts.append(
            Chart(
                title: "CPU per request by size of its body",
                x: Chart.Axis(title: "request body", unit: "KB", isLogarithmic: true),
                y: Chart.Axis(title: "server CPU", unit: "µs per request", isLogarithmic: true),
                series: [servers.full, servers.bare].map { Chart.Series(name: $0.name, points: cpu[$0.name] ?? []) }
            )
        )
    }
}
