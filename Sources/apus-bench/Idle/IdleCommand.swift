import Glibc

/// Cores and memory of a process over some seconds.
enum IdleCommand {
    private static let help = """
        usage: apus-bench idle --pid PID [--seconds 10] [--json] [--html FILE]

        What one running process uses. `apus-bench scrape` starts and measures an idle apus by itself.

        """

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help", "json", "short"])
        if arguments.flag("help") { return write(help, to: 1) }
        let asJSON = arguments.flag("json")
        let output = try ReportOutput(&arguments)
        let pid = try arguments.integer("pid", default: 0)
        let seconds = try arguments.integer("seconds", default: output.run.scaled(10, short: 1), in: 1...86_400)
        try arguments.finish()
        guard pid != 0 else { throw BenchError("idle needs --pid") }
        let start = RunStart()
        let idle = try IdleUsage(pid: pid_t(pid)) { sleep(UInt32(seconds)) }
        var section = Section(key: "idle", title: "process \(pid) over \(idle.seconds.fixed(1)) s")
        section.tables = [
            Table(
                title: "Use",
                key: "use",
                columns: [
                    Table.Column(title: "CPU", key: "cores", unit: "cores", digits: 3),
                    Table.Column(title: "resident", key: "resident_mib", unit: "MiB"),
                    Table.Column(title: "threads", key: "threads", unit: "", digits: 0),
                    Table.Column(title: "context switches", key: "context_switches_per_second", unit: "1/s", digits: 0),
                ],
                rows: [
                    Table.Row(
                        title: "process \(pid)",
                        key: "process",
                        values: [idle.cores, idle.residentMiB, Double(idle.threads), idle.contextSwitchesPerSecond]
                            .map { Spread([$0]) }
                    )
                ]
            )
        ]
        try output.deliver(Report([section], run: output.run, start: start), asJSON: asJSON)
    }
}

/// What a process used during some time.
struct IdleUsage {
    let seconds: Double
    let cores: Double
    let contextSwitchesPerSecond: Double
    /// At the end.
    let residentMiB: Double
    let threads: Int
    /// Cores of each of the threads with which Apus scrapes.
    let scrapingThreads: [Double]
    /// Cores that nothing used on the machine; nil when the system does not tell.
    let machineIdleCores: Double?

    init(pid: pid_t, during wait: () throws -> Void) throws {
        let before = try ProcessUsage(pid: pid)
        let idleBefore = machineIdleNanoseconds()
        let start = monotonicSeconds()
        try wait()
        let after = try ProcessUsage(pid: pid)
        let seconds = monotonicSeconds() - start
        let idleAfter = machineIdleNanoseconds()
        self.seconds = seconds
        scrapingThreads = after.cores(ofThreads: "apus-scrape", since: before, seconds: seconds)
        machineIdleCores = idleBefore.flatMap { before in idleAfter.map { ($0 - before) / 1e9 / seconds } }
        cores = Double(after.cpuNanoseconds - before.cpuNanoseconds) / 1e9 / seconds
        contextSwitchesPerSecond = Double(after.contextSwitches - before.contextSwitches) / seconds
        residentMiB = Double(after.residentBytes) / 1_048_576
        threads = after.threads
    }
}
