/// Measurements that are made in this process, several rounds each, and shown as one table.
struct Suite {
    /// One line of the table.
    struct Line {
        let title: String
        /// A short name for programs.
        let key: String
        let unit: String
        var digits = 1
        /// What the value is meant not to exceed.
        var goal: Double?
        var values: [Double] = []

        var spread: Spread { Spread(values) }
    }

    let rounds: Int
    /// Whether repetitions may be few.
    let isShort: Bool
    private(set) var lines: [Line] = []

    init(rounds: Int, isShort: Bool) {
        self.rounds = rounds
        self.isShort = isShort
    }

    /// Repetitions of something small: a hundredth of `full` in a short run.
    func repetitions(_ full: Int) -> Int {
        isShort ? max(1, full / 100) : full
    }

    /// Adds the line of a measurement that is repeated as often as there are rounds. Progress goes to standard error.
    mutating func measure(_ line: Line, _ round: () throws -> Double) rethrows {
        try measure([line]) { [try round()] }
    }

    /// The same for measurements that one round makes together, in the order of their lines.
    mutating func measure(_ group: [Line], _ round: () throws -> [Double]) rethrows {
        var group = group
        for _ in 0..<rounds {
            for (index, value) in try round().enumerated() { group[index].values.append(value) }
        }
        for line in group { write("\(line.title): \(Self.text(line.spread, line)) \(line.unit)\n", to: 2) }
        lines += group
    }

    // MARK: Report

    /// One table, a row a line, and the goals of those that have one.
    func section(key: String, title: String, method: [String]) -> Section {
        var table = Table(title: "Medians of \(rounds.of("round"))", key: key, columns: [])
        var section = Section(key: key, title: title, method: method)
        table.columns = [Table.Column(title: "value", key: "value", unit: "", digits: 2)]
        for line in lines {
            table.rows.append(Table.Row(title: "\(line.title), \(line.unit)", key: line.key, values: [line.spread]))
            guard let goal = line.goal else { continue }
            section.goals.append(
                Goal(
                    title: line.title,
                    key: line.key,
                    unit: line.unit,
                    value: line.spread.median,
                    limit: goal,
                    digits: line.digits
                )
            )
        }
        section.tables = [table]
        return section
    }

    private static func text(_ spread: Spread, _ line: Line) -> String {
        spread.text(line.digits)
    }
}

/// Microseconds of CPU that this process spends on one of `count` repetitions.
func cpuMicroseconds(per count: Int, _ body: () throws -> Void) rethrows -> Double {
    let start = processCPUNanoseconds()
    try body()
    return Double(processCPUNanoseconds() - start) / 1e3 / Double(count)
}
