/// What was found, and where: from this the text, the JSON and the page are made.
struct Report {
    let sections: [Section]
    let machine: MachineFacts
    /// UTC.
    let date: String
    let isShort: Bool
    let seconds: Double

    init(_ sections: [Section], run: BenchRun, start: RunStart) {
        self.sections = sections
        machine = start.machine
        date = start.text
        isShort = run.scale == .short
        seconds = monotonicSeconds() - start.monotonic
    }

    init(_ sections: [Section], machine: MachineFacts, date: String, isShort: Bool, seconds: Double) {
        self.sections = sections
        self.machine = machine
        self.date = date
        self.isShort = isShort
        self.seconds = seconds
    }

    /// What must be said before any figure is believed.
    var warnings: [String] {
        var warnings: [String] = []
        if isShort { warnings.append("A short run, which only shows that the suites work: its figures mean nothing.") }
        if machine.isDebugBuild { warnings.append("A debug build: its figures mean nothing.") }
        return warnings
    }

    /// What the head of every form says, as pairs of a name and a value.
    var facts: [(name: String, value: String)] {
        [
            ("date", date),
            ("took", "\(seconds.fixed(0)) s"),
            ("cores", "\(machine.cores)"),
            ("CPU", machine.model),
            ("memory", "\(machine.memoryGiB.fixed(1)) GiB"),
            ("kernel", machine.kernel),
            ("system", machine.system),
            ("load before", machine.loadAverage),
            ("build", machine.isDebugBuild ? "debug" : "release"),
            ("commit", machine.commit ?? "unknown"),
        ]
    }
}

extension Goal {
    /// `value unit (at most limit)`, and by how much it is missed.
    var verdict: String {
        let limitText = "\(isAtMost ? "at most" : "at least") \(limit.grouped(digits))\(unit.isEmpty ? "" : " " + unit)"
        guard value.isFinite else { return "not measured (\(limitText))" }
        let text = "\(value.grouped(digits))\(unit.isEmpty ? "" : " " + unit) (\(limitText))"
        guard let miss else { return text }
        return text + ", \((miss * 100).fixed(miss < 0.1 ? 1 : 0)) % \(isAtMost ? "over" : "under")"
    }
}

extension Spread {
    /// Whether it is of more than one measurement, as far as can be seen.
    var isOfMany: Bool { lowest != highest }

    /// The median, and the ends where there are any.
    func text(_ digits: Int) -> String {
        guard median.isFinite else { return "–" }
        return median.grouped(digits)
            + (isOfMany ? " [\(lowest.grouped(digits)) … \(highest.grouped(digits))]" : "")
    }
}
