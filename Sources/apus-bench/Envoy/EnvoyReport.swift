/// What the rounds of all contenders come to.
struct EnvoyReport {
    let options: EnvoyCommand.Options
    let workloads: [EnvoyWorkload]
    let parts: EnvoyParts

    var section: Section {
        var section = Section(key: "envoy", title: "Through a real Envoy, and through other routers")
        section.method = method
        for workload in workloads {
            section.tables += workload.isStream ? [streamTable(workload)] : latencyTables(workload)
            section.tables.append(costTable(workload))
        }
        section.charts = charts
        section.goals = EnvoyGoals(report: self).all
        section.faults = parts.faults
        for contender in parts.contenders {
            for (failure, count) in contender.failures.sorted(by: { $0.key < $1.key }) {
                section.faults.append("\(count) × \(failure)")
            }
        }
        return section
    }

    private var method: [String] {
        [
            "Every way leads from one load generator, a single thread, to the same \(options.upstreamCount) model servers that answer with "
                + "constants from one thread; all processes share the machine's cores.",
            "Envoy \(parts.envoyVersion ?? "") has one worker and the configuration of deploy/envoy/original-dst.yaml (both bodies FULL_DUPLEX_STREAMED); "
                + "alone it has no filter and balances round robin. `Constant answers` is apus-bench bare-server: the same "
                + "transport, no thought, one poller. Apus is as it is without flags, but for TLS: it scrapes, and writes its access log.",
            "An event stream has \(options.chunks) chunks, one each millisecond, each written by itself.",
            "Requests are of 64 conversations that share half of their prompt.",
            "Open loop: \(options.plan.rate.fixed(0)) requests/s, evenly; latencies count from when a request should have been sent. "
                + "Added: over Envoy alone in the same round.",
            "The contenders take turns, another one first each round; \(options.plan.rounds.of("round")), medians.",
        ] + parts.missingSentences
    }

    // MARK: Tables

    /// A column, what a round has for it, and whether that counts over Envoy alone in the same round.
    private typealias MeasuredColumn = (Table.Column, (EnvoyRound) -> Double?, isAdded: Bool)

    /// Latencies of one JSON body: with one connection, and in the open loop.
    private func latencyTables(_ workload: EnvoyWorkload) -> [Table] {
        func columns(_ key: String, _ value: @escaping (EnvoyRound) -> EnvoyRound.Latency?) -> [MeasuredColumn] {
            let p50: (EnvoyRound) -> Double? = { value($0).map { $0.p50 * 1e6 } }
            let p99: (EnvoyRound) -> Double? = { value($0).map { $0.p99 * 1e6 } }
            return [
                (column("p50", "\(key)_p50_us", "µs", 0), p50, false),
                (column("p99", "\(key)_p99_us", "µs", 0), p99, false),
                (column("adds at p50", "\(key)_added_p50_us", "µs", 0), p50, true),
                (column("adds at p99", "\(key)_added_p99_us", "µs", 0), p99, true),
            ]
        }
        let late = column("generator late p99", "open_lateness_p99_us", "µs", 0)
        let rate = "\(options.plan.rate.fixed(0)) requests/s"
        return [
            table("\(workload.title): latency, one connection", "\(workload.key)_single", workload) {
                columns("single", \.single)
            },
            table("\(workload.title): latency, \(rate)", "\(workload.key)_open", workload) {
                columns("open", \.paced) + [(late, { $0.lateness.map { $0 * 1e6 } }, false)]
            },
        ]
    }

    private func streamTable(_ workload: EnvoyWorkload) -> Table {
        let columns: [MeasuredColumn] = [
            (
                column("first byte p50", "first_byte_p50_us", "µs", 0),
                { $0.busy?.latency.map { $0.firstByteP50 * 1e6 } }, false
            ),
            (
                column("adds p50", "first_byte_added_p50_us", "µs", 0),
                { $0.busy?.latency.map { $0.firstByteP50 * 1e6 } }, true
            ),
            (
                column("adds p99", "first_byte_added_p99_us", "µs", 0),
                { $0.busy?.latency.map { $0.firstByteP99 * 1e6 } }, true
            ),
            (column("whole stream p50", "stream_p50_ms", "ms", 1), { $0.busy?.latency.map { $0.p50 * 1e3 } }, false),
        ]
        return table("\(workload.title): latency at 16 connections", "\(workload.key)_latency", workload) { columns }
    }

    private func costTable(_ workload: EnvoyWorkload) -> Table {
        var columns: [MeasuredColumn] = [
            (column("requests/s", "requests_per_second", "", 0), { $0.busy?.requestsPerSecond }, false),
            (column("CPU: picker or router", "picker_cpu_us", "µs", 1), { $0.busy?.cpu[.picker] }, false),
            (column("Envoy", "envoy_cpu_us", "µs", 1), { $0.busy?.cpu[.envoy] }, false),
            (column("model servers", "upstream_cpu_us", "µs", 1), { $0.busy?.cpu[.upstream] }, false),
            (column("generator", "generator_cpu_us", "µs", 1), { $0.busy?.cpu[.generator] }, false),
        ]
        if workload.hasCrowd {
            columns += [
                (column("150: requests/s", "crowd_requests_per_second", "", 0), { $0.crowd?.requestsPerSecond }, false),
                (column("150: picker", "crowd_picker_cpu_us", "µs", 1), { $0.crowd?.cpu[.picker] }, false),
            ]
        }
        return table("\(workload.title): 16 connections, CPU per request", "\(workload.key)_cost", workload) { columns }
    }

    private func column(_ title: String, _ key: String, _ unit: String, _ digits: Int) -> Table.Column {
        Table.Column(title: title, key: key, unit: unit, digits: digits)
    }

    private func table(
        _ title: String,
        _ key: String,
        _ workload: EnvoyWorkload,
        _ columns: () -> [MeasuredColumn]
    ) -> Table {
        let columns = columns()
        return Table(
            title: title,
            key: key,
            columns: columns.map(\.0),
            rows: parts.contenders.map { contender in
                Table.Row(
                    title: contender.title,
                    key: contender.key.replacing("-", with: "_"),
                    values: columns.map { _, value, isAdded in
                        let values = isAdded ? added(contender, workload, value) : of(contender, workload, value)
                        return values.isEmpty ? nil : Spread(values)
                    }
                )
            }
        )
    }

    // MARK: Values

    func of(
        _ contender: EnvoyContender?,
        _ workload: EnvoyWorkload,
        _ value: (EnvoyRound) -> Double?
    ) -> [Double] {
        contender?.rounds[workload.key]?.compactMap(value) ?? []
    }

    /// Over Envoy alone in the same round.
    func added(
        _ contender: EnvoyContender?,
        _ workload: EnvoyWorkload,
        _ value: (EnvoyRound) -> Double?
    ) -> [Double] {
        guard contender?.key != "envoy" else { return [] }
        return zip(of(contender, workload, value), of(find("envoy"), workload, value)).map { $0 - $1 }
    }

    func find(_ key: String) -> EnvoyContender? {
        parts.contenders.first { $0.key == key }
    }

    private var charts: [Chart] {
        let jsons = workloads.filter { !$0.isStream }
        guard !jsons.isEmpty else { return [] }
        func chart(
            _ title: String,
            _ axis: (title: String, unit: String),
            _ value: (EnvoyContender, EnvoyWorkload) -> [Double]
        ) -> Chart {
            var chart = Chart(
                title: title,
                x: Chart.Axis(title: "request body", unit: ""),
                y: Chart.Axis(title: axis.title, unit: axis.unit),
                groups: jsons.map { EnvoyWorkload.text($0.bodyBytes) }
            )
            for contender in parts.contenders {
                let points = jsons.enumerated().compactMap { index, workload -> Chart.Point? in
                    let values = value(contender, workload)
                    return values.isEmpty ? nil : Chart.Point(x: Double(index), y: Spread(values))
                }
                if !points.isEmpty { chart.series.append(Chart.Series(name: contender.title, points: points)) }
            }
            return chart
        }
        return [
            chart("CPU per request of picker or router, 16 connections", ("CPU", "µs")) {
                of($0, $1) { $0.busy?.cpu[.picker] }
            },
            chart("Added to Envoy alone, \(options.plan.rate.fixed(0)) requests/s", ("p50", "µs")) {
                added($0, $1) { $0.paced.map { $0.p50 * 1e6 } }
            },
            chart("Throughput, 16 connections", ("requests", "1/s")) { of($0, $1) { $0.busy?.requestsPerSecond } },
        ]
    }
}
