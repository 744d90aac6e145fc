/// What a suite is told about the run that it belongs to.
struct BenchRun: Sendable {
    var scale = Scale.full
    /// What `--rounds` asked for.
    var askedRounds: Int?
    /// The programs to measure.
    var apus = sibling("apus")
    var simulator = sibling("apus-sim")

    /// Rounds of a measurement that a full report repeats `full` times; one in a short report, unless asked otherwise.
    func rounds(_ full: Int = 5) -> Int {
        askedRounds ?? (scale == .short ? 1 : full)
    }

    /// One of two values: that of a full report or that of a short one.
    func scaled<Value>(_ full: Value, short: Value) -> Value {
        scale == .short ? short : full
    }

    /// Says on standard error what has been done.
    func progress(_ text: String) {
        write(text + "\n", to: 2)
    }
}

/// One of the measurements that `apus-bench report` puts together, and a command of its own.
struct ReportSuite: Sendable {
    /// Its name on the command line.
    let key: String
    /// One line for the help.
    let summary: String
    /// Measures. An error is a broken benchmark, as faults in the section are.
    let section: @Sendable (BenchRun) throws -> Section

    /// The section; with the error as a fault where there is none, so that the other suites still get their turn.
    func sectionOrFault(_ run: BenchRun) -> Section {
        let start = monotonicSeconds()
        run.progress("== \(key)")
        defer { run.progress("== \(key): \((monotonicSeconds() - start).fixed(0)) s") }
        do {
            return try section(run)
        } catch {
            return Section(key: key, title: summary, faults: ["\(error)"])
        }
    }
}
