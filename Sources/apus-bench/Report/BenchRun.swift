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
    /// Seconds that it takes on two cores: a full report with all peers, and a short one.
    var seconds = (full: 60.0, short: 5.0)
    /// Measures. An error is a broken benchmark, as faults in the section are.
    let section: @Sendable (BenchRun) throws -> Section

    /// The section; with the error as a fault where there is none, so that the other suites still get their turn.
    ///
    /// - Parameter note: what progress says beside its name.
    func sectionOrFault(_ run: BenchRun, note: String = "") -> Section {
        let start = monotonicSeconds()
        run.progress("== \(key)\(note)")
        defer { run.progress("== \(key): \((monotonicSeconds() - start).fixed(0)) s") }
        do {
            return try section(run)
        } catch {
            return Section(key: key, title: summary, faults: ["\(error)"])
        }
    }
}

/// How long a report still takes, by what its suites usually take and by how slow this machine has been until now.
struct ReportPace {
    private let expected: [Double]
    private var passed = (expected: 0.0, taken: 0.0)

    init(_ suites: [ReportSuite], _ run: BenchRun) {
        // What is repeated takes as much longer as it is repeated more often.
        let repeated = Double(run.rounds(5)) / run.scaled(5, short: 1)
        expected = suites.map { run.scaled($0.seconds.full, short: $0.seconds.short) * repeated }
    }

    /// Of the suite at `index` and those behind it, in seconds.
    func rest(from index: Int) -> Double {
        let pace = passed.expected > 0 ? min(10, max(0.1, passed.taken / passed.expected)) : 1
        return expected[index...].reduce(0, +) * pace
    }

    mutating func ended(_ index: Int, after seconds: Double) {
        passed.expected += expected[index]
        passed.taken += seconds
    }

    /// ` (2 of 8; about 31 minutes left)`.
    func note(_ index: Int) -> String {
        let seconds = rest(from: index)
        let time = seconds < 90 ? "\(Int(seconds.rounded())) seconds" : "\(Int((seconds / 60).rounded())) minutes"
        return " (\(index + 1) of \(expected.count); about \(time) left)"
    }
}
