import Glibc

/// `apus-bench report` and, for each suite, `apus-bench SUITE`: measures, and writes what was found.
enum ReportCommand {
    private static var help: String {
        """
        usage: apus-bench report [OPTIONS]

          --short          every step once and small, in seconds, to see that the suites work; the figures mean nothing
          --only A,B,...   these suites only
          --rounds N       repetitions of each measurement
          --html FILE      also write a page with tables and plots
          --json FILE      also write the figures as JSON
          --reasons FILE   why goals are missed: lines `SUITE.GOAL: TEXT` with the keys of the JSON, said where it is not met
          --apus PATH      the program to measure; default: beside this one
          --sim PATH       the model servers' program; default: apus-sim beside this one

        The report is printed on standard output, progress on standard error. Exits with 1 when a suite did not work, never
        because a goal was missed. Suites: \(ReportSuite.all.map(\.key).joined(separator: ", ")).

        """
    }

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help", "short"])
        if arguments.flag("help") { return write(help, to: 1) }
        let jsonFile = arguments.string("json")
        let reasons = try arguments.string("reasons").map { try GoalReasons(file: $0) }
        let output = try ReportOutput(&arguments)
        let only = arguments.string("only").map { $0.split(separator: ",").map { String($0) } }
        try arguments.finish()
        let suites = try select(only)
        let start = RunStart()
        var pace = ReportPace(suites, output.run)
        var sections: [Section] = []
        for (index, suite) in suites.enumerated() {
            let begun = monotonicSeconds()
            sections.append(suite.sectionOrFault(output.run, note: pace.note(index)))
            pace.ended(index, after: monotonicSeconds() - begun)
        }
        if let reasons {
            for key in reasons.attach(to: &sections) {
                output.run.progress("--reasons names no goal of this report: \(key)")
            }
        }
        try output.deliver(Report(sections, run: output.run, start: start), jsonFile: jsonFile)
    }

    /// The suites that are named, in the report's order; all where none is.
    static func select(_ names: [String]?) throws -> [ReportSuite] {
        guard let names else { return ReportSuite.all }
        for name in names where !ReportSuite.all.contains(where: { $0.key == name }) {
            throw BenchError(
                "there is no suite \(name); there are \(ReportSuite.all.map(\.key).joined(separator: ", "))"
            )
        }
        return ReportSuite.all.filter { names.contains($0.key) }
    }

    /// One suite as a command, for suites without options of their own.
    static func runAlone(_ suite: ReportSuite, _ words: [String]) throws {
        let help = """
            usage: apus-bench \(suite.key) [--short] [--rounds N] [--json] [--html FILE] [--apus PATH] [--sim PATH]

            \(suite.summary.prefix(1).uppercased() + suite.summary.dropFirst()).
            `apus-bench report --help` tells what the options mean; here --json prints JSON instead of the text.

            """
        var arguments = try Arguments(words, flags: ["help", "short", "json"])
        if arguments.flag("help") { return write(help, to: 1) }
        let asJSON = arguments.flag("json")
        let output = try ReportOutput(&arguments)
        try arguments.finish()
        let start = RunStart()
        let section = suite.sectionOrFault(output.run)
        try output.deliver(Report([section], run: output.run, start: start), asJSON: asJSON)
    }
}

/// The options that all suites share, and the ways in which a report goes out.
struct ReportOutput {
    private(set) var run = BenchRun()
    private let htmlFile: String?

    /// Takes `--short`, `--rounds`, `--html`, `--apus` and `--sim`.
    init(_ arguments: inout Arguments) throws {
        if arguments.flag("short") { run.scale = .short }
        if let rounds = arguments.string("rounds") {
            guard let count = Int(rounds), 1...1000 ~= count else {
                throw BenchError("--rounds must be a number from 1 to 1000")
            }
            run.askedRounds = count
        }
        run.apus = arguments.string("apus") ?? run.apus
        run.simulator = arguments.string("sim") ?? run.simulator
        htmlFile = arguments.string("html")
    }

    /// Prints the report and writes its files. Throws when a suite did not work, after all is written.
    func deliver(_ report: Report, asJSON: Bool = false, jsonFile: String? = nil) throws {
        write(asJSON ? report.json : report.text, to: 1)
        if let jsonFile { try writeFile(jsonFile, report.json) }
        if let htmlFile { try writeFile(htmlFile, report.html) }
        let faults = report.sections.reduce(0) { $0 + $1.faults.count }
        if faults > 0 { throw BenchError("\(faults.of("fault")) in the benchmark itself") }
    }
}

private func writeFile(_ path: String, _ text: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw BenchError("cannot write \(path): \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    write(text, to: descriptor)
}
