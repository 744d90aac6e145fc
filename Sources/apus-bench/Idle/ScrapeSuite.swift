import Glibc

/// What apus costs while it only watches its endpoints: 10, 100 and 1,000 of them, every 50 ms.
enum ScrapeSuite {
    private static let scrapesPerSecond = 20.0
    private static let limits = [100: 0.12, 1000: 1.0]

    /// What one round saw.
    private struct Round {
        let usage: IdleUsage
        let serverCores: Double
        let scrapesPerSecond: Double
        let failuresPerSecond: Double
    }

    static func section(_ run: BenchRun) throws -> Section {
        let page = try enginePage(run)
        let seconds = run.scaled(4.0, short: 0.7)
        var section = Section(
            key: "scrape",
            title: "an idle apus and its endpoints' metrics",
            method: [
                "Apus with its defaults and nothing to do but to scrape every endpoint every 50 ms; after two seconds, "
                    + "\(run.rounds().of("round")) of \(seconds.fixed(1)) s each.",
                "The pages are of \((Double(page.utf8.count) / 1000).fixed(0)) KB in vLLM's words, as the simulator makes them. One "
                    + "thread of one process sends them, always the same; its CPU is in the table, since it shares the machine.",
            ]
        )
        var table = Table(
            title: "Endpoints",
            key: "endpoints",
            columns: [
                Table.Column(title: "apus", key: "cores", unit: "cores", digits: 3),
                Table.Column(title: "for a scrape", key: "scrape_us", unit: "µs"),
                Table.Column(title: "scrapes", key: "scrapes_per_second", unit: "1/s", digits: 0),
                Table.Column(title: "of those wanted", key: "scrape_share", unit: "%"),
                Table.Column(title: "context switches", key: "context_switches_per_second", unit: "1/s", digits: 0),
                Table.Column(title: "resident", key: "resident_mib", unit: "MiB"),
                Table.Column(title: "its scraping threads", key: "thread_cores", unit: "cores", digits: 3),
                Table.Column(title: "the busiest of them", key: "busiest_thread", unit: "% of a core", digits: 0),
                Table.Column(title: "page server", key: "server_cores", unit: "cores", digits: 3),
                Table.Column(title: "machine idle", key: "machine_idle", unit: "cores", digits: 2),
            ]
        )
        var cores: [Chart.Point] = []
        for count in [10, 100, 1000] {
            let rounds = try measure(count, page, seconds, run, &section)
            guard !rounds.isEmpty else { continue }
            let wanted = Double(count) * scrapesPerSecond
            func spread(_ value: (Round) -> Double) -> Spread { Spread(rounds.map(value)) }
            let seen = spread(\.scrapesPerSecond)
            let row: [Spread?] = [
                spread(\.usage.cores), spread { $0.usage.cores * 1e6 / max($0.scrapesPerSecond, 1) }, seen,
                spread { $0.scrapesPerSecond / wanted * 100 }, spread(\.usage.contextSwitchesPerSecond),
                spread(\.usage.residentMiB), spread { $0.usage.scrapingThreads.reduce(0, +) },
                spread { ($0.usage.scrapingThreads.max() ?? 0) * 100 }, spread(\.serverCores), idle(rounds),
            ]
            table.rows.append(Table.Row(title: count.grouped, key: "\(count)", values: row))
            cores.append(Chart.Point(x: Double(count), y: spread(\.usage.cores)))
            run.progress(
                "scrape: \(count.grouped) endpoints: \(spread(\.usage.cores).text(3)) cores, \(seen.text(0)) scrapes/s of \(wanted.grouped(0))"
            )
            conclude(count, rounds, wanted, &section)
        }
        section.tables = [table]
        section.charts = [
            Chart(
                title: "CPU of an idle apus",
                x: Chart.Axis(title: "endpoints, scraped every 50 ms", unit: "", isLogarithmic: true),
                y: Chart.Axis(title: "CPU", unit: "cores", isLogarithmic: true),
                series: [Chart.Series(name: "apus", points: cores)]
            )
        ]
        return section
    }

    /// The goal, and what must be known to judge it: the CPU of the scrapes that were wanted, not only of those that were made.
    private static func conclude(_ count: Int, _ rounds: [Round], _ wanted: Double, _ section: inout Section) {
        let share = Spread(rounds.map { $0.scrapesPerSecond / wanted }).median
        let isReached = share >= 0.97
        if !isReached {
            section.method.append(
                "The rate wanted of \(count.grouped) endpoints was not reached: "
                    + "\((share * 100).fixed(0)) % of the scrapes were made. " + ceiling(rounds)
            )
        }
        guard let limit = limits[count] else { return }
        let cores = Spread(rounds.map { $0.usage.cores / (isReached ? 1 : max(0.001, $0.scrapesPerSecond / wanted)) })
        let each = (cores.median * 1e6 / wanted).fixed(0)
        section.goals.append(
            Goal(
                title: "idle with \(count.grouped) endpoints"
                    + (isReached ? "" : ", told from \((share * 100).fixed(0)) % of the scrapes"),
                key: "cores_\(count)",
                unit: "cores",
                value: cores.median,
                limit: limit,
                digits: 3,
                reason: "A scrape takes \(each) µs here, most of it libcurl's and the kernel's."
                    + (isReached
                        ? ""
                        : " The rate wanted was not reached; this is the CPU that it would take. " + ceiling(rounds))
            )
        )
    }

    private static func idle(_ rounds: [Round]) -> Spread? {
        let cores = rounds.compactMap(\.usage.machineIdleCores)
        return cores.isEmpty ? nil : Spread(cores)
    }

    /// What kept apus from more scrapes: its threads, the page server's one, or the machine.
    private static func ceiling(_ rounds: [Round]) -> String {
        func median(_ value: (Round) -> Double) -> Double { Spread(rounds.map(value)).median }
        let busiest = median { $0.usage.scrapingThreads.max() ?? 0 }
        let threads = median { Double($0.usage.scrapingThreads.count) }
        let server = median(\.serverCores)
        let unused = idle(rounds)?.median
        var text =
            "The busiest of its \(Int(threads).of("scraping thread")) had \((busiest * 100).fixed(0)) % of a core, "
            + "the page server's only one \((server * 100).fixed(0)) %"
        if let unused { text += ", and \(unused.fixed(2)) cores of the machine were idle" }
        // A thread that shares a core gets less than all of it.
        if busiest >= 0.9 { return text + ": the thread was the ceiling." }
        if server >= 0.9 { return text + ": the page server was the ceiling." }
        if let unused, unused < 0.15 { return text + ": the machine's CPU was the ceiling." }
        return text + ": none of these was the ceiling."
    }

    private static func measure(
        _ count: Int,
        _ page: String,
        _ seconds: Double,
        _ run: BenchRun,
        _ section: inout Section
    ) throws -> [Round] {
        let file = try TemporaryFile(page)
        let server = try ChildProcess(
            sibling("apus-bench"),
            ["upstream", "--count", "\(count)", "--metrics-file", file.path]
        )
        let endpoints = try server.wait(for: "listening on ", count: count).joined(separator: ",")
        let apus = try ApusProcess(run, ["--endpoints", endpoints])
        defer { withExtendedLifetime((file, server)) {} }
        // A crowded machine takes its time; what never scrapes is broken.
        let deadline = monotonicSeconds() + 30
        while try apus.scrapes().ok == 0 {
            guard monotonicSeconds() < deadline else {
                section.faults.append("\(count.grouped) endpoints: nothing was scraped")
                return []
            }
            usleep(100_000)
        }
        usleep(run.scaled(2_000_000, short: 300_000))
        var rounds: [Round] = []
        for _ in 0..<run.rounds() {
            let scrapes = try apus.scrapes()
            let before = try ProcessUsage(pid: server.pid)
            let usage = try IdleUsage(pid: apus.pid) { usleep(UInt32(seconds * 1e6)) }
            let after = try ProcessUsage(pid: server.pid)
            let later = try apus.scrapes()
            rounds.append(
                Round(
                    usage: usage,
                    serverCores: Double(after.cpuNanoseconds - before.cpuNanoseconds) / 1e9 / usage.seconds,
                    scrapesPerSecond: (later.ok - scrapes.ok) / usage.seconds,
                    failuresPerSecond: (later.failed - scrapes.failed) / usage.seconds
                )
            )
        }
        // A machine that has no CPU left lets some time out.
        if run.scale == .full, rounds.contains(where: { $0.failuresPerSecond > 0 }) {
            let failures = Spread(rounds.map(\.failuresPerSecond)).text(1)
            section.method.append("Of the scrapes of \(count.grouped) endpoints \(failures) a second failed.")
        }
        return rounds
    }

    /// A page of metrics as the simulated engine gives it, head and all removed.
    private static func enginePage(_ run: BenchRun) throws -> String {
        let simulation = try ChildProcess(run.simulator, ["--port", "0", "--model", Frames.model])
        let address = try simulation.wait(for: "listening ")[0]
        defer { withExtendedLifetime(simulation) {} }
        guard let port = address.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw BenchError("apus-sim listens at \(address)")
        }
        let answer = try PlainGet.body(port: port, path: "/metrics")
        guard let end = answer.firstRange(of: "\r\n\r\n"), answer.contains("vllm:") else {
            throw BenchError("apus-sim has no page of metrics")
        }
        return String(answer[end.upperBound...])
    }
}
