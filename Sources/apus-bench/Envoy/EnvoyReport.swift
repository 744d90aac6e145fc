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
        section.goals = goals
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
        ] + parts.missing
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

    private func of(
        _ contender: EnvoyContender?,
        _ workload: EnvoyWorkload,
        _ value: (EnvoyRound) -> Double?
    ) -> [Double] {
        contender?.rounds[workload.key]?.compactMap(value) ?? []
    }

    /// Over Envoy alone in the same round.
    private func added(
        _ contender: EnvoyContender?,
        _ workload: EnvoyWorkload,
        _ value: (EnvoyRound) -> Double?
    ) -> [Double] {
        guard contender?.key != "envoy" else { return [] }
        return zip(of(contender, workload, value), of(find("envoy"), workload, value)).map { $0 - $1 }
    }

    private func find(_ key: String) -> EnvoyContender? {
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

    // MARK: Goals

    private var goals: [Goal] {
        var goals: [Goal] = []
        let jsons = workloads.filter { !$0.isStream }
        let apus = find("apus")
        let bare = find("bare")
        for (bytes, limit) in [(2048, 70.0), (220_000, 240)] {
            guard let workload = jsons.first(where: { $0.bodyBytes == bytes }) else { continue }
            let title = "CPU of Apus per request of \(EnvoyWorkload.text(bytes)), 16 connections"
            let mine = of(apus, workload) { $0.busy?.cpu[.picker] }
            let transport = median(of(bare, workload) { $0.busy?.cpu[.picker] })
            let reason = transport.map {
                "Constant answers take \($0.fixed(0)) µs in the same run: gRPC core, protobuf-c and the kernel. "
                    + "The rest, \(((median(mine) ?? $0) - $0).fixed(0)) µs, is Apus's."
            }
            add(&goals, title, "apus_cpu_\(bytes)_us", "µs", mine, limit, reason: reason)
        }
        if let small = jsons.first(where: { $0.bodyBytes == 2048 }) {
            for (name, limit, value) in [
                ("p50", 0.35, { $0.paced.map { $0.p50 * 1e3 } }), ("p99", 1.5, { $0.paced.map { $0.p99 * 1e3 } }),
            ] as [(String, Double, (EnvoyRound) -> Double?)] {
                let mine = added(apus, small, value)
                let others = added(bare, small, value)
                let rate = "\(options.plan.rate.fixed(0)) requests/s"
                let reason = median(others).map { "Constant answers add \($0.fixed(3)) ms in the same run." }
                let key = "added_\(name)"
                add(
                    &goals,
                    "Apus adds at \(name), \(rate)",
                    "\(key)_ms",
                    "ms",
                    mine,
                    limit,
                    digits: 3,
                    reason: reason
                )
                // A round in which noise was larger than what is added tells nothing about the ratio.
                let ratios = zip(mine, others).filter { $0 > 0 && $1 > 0 }.map { $0 / $1 }
                let title = "Apus adds at \(name) over what constant answers add, \(rate)"
                let spread = ratios.isEmpty ? nil : "Of single rounds: \(Spread(ratios).text(2)). \(reason ?? "")"
                add(&goals, title, "\(key)_ratio", "", ratios, 1.15, digits: 2, reason: spread)
            }
        }
        for workload in jsons {
            let routers = parts.contenders.filter(\.isRouter).compactMap { router in
                let values = of(router, workload) { $0.busy?.cpu[.picker] }
                return values.isEmpty ? nil : (router.title, Spread(values).median)
            }
            if let cheapest = routers.min(by: { $0.1 < $1.1 }) {
                let size = EnvoyWorkload.text(workload.bodyBytes)
                let title = "CPU of Apus over the cheapest router's (\(cheapest.0)), \(size)"
                let ratios = of(apus, workload) { $0.busy?.cpu[.picker] }.map { $0 / max(cheapest.1, 1e-6) }
                let reason = median(of(bare, workload) { $0.busy?.cpu[.picker] }).map {
                    "Asking any picker over ext_proc takes \(($0 / max(cheapest.1, 1e-6)).fixed(2)) times the router's CPU "
                        + "(constant answers: \($0.fixed(0)) µs, the router: \(cheapest.1.fixed(0)) µs)."
                }
                let key = "cpu_over_router_\(workload.bodyBytes)"
                add(&goals, title, key, "", ratios, 1, digits: 2, reason: reason)
            }
            guard workload.hasCrowd else { continue }
            for (count, value) in [
                (16, { $0.busy?.requestsPerSecond }), (150, { $0.crowd?.requestsPerSecond }),
            ] as [(Int, (EnvoyRound) -> Double?)] {
                let ratios = zip(of(apus, workload, value), of(bare, workload, value)).map {
                    $0 / max($1, 1e-6)
                }
                let size = EnvoyWorkload.text(workload.bodyBytes)
                let title = "Requests/s over constant answers', \(size), \(count) in flight"
                let key = "throughput_over_bare_\(count)"
                let reason = "All parts share the machine's cores: the CPU that Apus takes beside Envoy's shows here."
                add(&goals, title, key, "", ratios, 0.85, isAtMost: false, digits: 2, reason: reason)
            }
        }
        return goals
    }

    private func median(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : Spread(values).median
    }

    /// A goal of what was measured; none of what was not.
    private func add(
        _ goals: inout [Goal],
        _ title: String,
        _ key: String,
        _ unit: String,
        _ values: [Double],
        _ limit: Double,
        isAtMost: Bool = true,
        digits: Int = 1,
        reason: String? = nil
    ) {
        guard !values.isEmpty else { return }
        goals.append(
            Goal(
                title: title,
                key: key,
                unit: unit,
                value: Spread(values).median,
                limit: limit,
                isAtMost: isAtMost,
                digits: digits,
                reason: reason
            )
        )
    }
}
