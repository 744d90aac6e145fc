/// Measurements that are made in this process, several rounds each, and printed as one table.
struct Suite {
    /// One line of the table.
    struct Line {
        let title: String
        /// A short name for programs.
        let key: String
        let unit: String
        var digits = 1
        /// What the value is meant not to exceed; printed beside it, never checked.
        var goal: Double?
        var values: [Double] = []

        var spread: Spread { Spread(values) }
    }

    let rounds: Int
    private(set) var lines: [Line] = []

    init(rounds: Int) {
        self.rounds = rounds
    }

    /// Adds the line of a measurement that is repeated as often as there are rounds. Progress goes to standard error.
    mutating func measure(_ line: Line, _ round: () throws -> Double) rethrows {
        try measure([line]) { [try round()] }
    }

    /// The same for measurements that one round makes together, in the order of their lines.
    ///
    /// - Parameter isOnce: for what only the first round can tell.
    mutating func measure(_ group: [Line], isOnce: Bool = false, _ round: () throws -> [Double]) rethrows {
        var group = group
        for _ in 0..<(isOnce ? 1 : rounds) {
            for (index, value) in try round().enumerated() { group[index].values.append(value) }
        }
        for line in group { write("\(line.title): \(Self.text(line.spread, line)) \(line.unit)\n", to: 2) }
        lines += group
    }

    // MARK: Reports

    var table: String {
        var text = "\nmedian [lowest … highest] of \(rounds) rounds\n\n"
        let width = (lines.map(\.title.count).max() ?? 0) + 2
        for line in lines {
            text += line.title + String(repeating: " ", count: width - line.title.count)
            text += Self.text(line.spread, line).padded(to: 26) + " " + line.unit
            if let goal = line.goal { text += " (meant: at most \(goal.fixed(0)))" }
            text += "\n"
        }
        return text
    }

    var json: String {
        let fields = lines.map { line in
            let spread = line.spread
            let digits = line.digits + 1
            return #""\#(line.key)":{"unit":"\#(line.unit)","median":\#(spread.median.rounded(digits)),"#
                + #""lowest":\#(spread.lowest.rounded(digits)),"highest":\#(spread.highest.rounded(digits))}"#
        }
        return #"{"rounds":\#(rounds),"# + fields.joined(separator: ",") + "}\n"
    }

    private static func text(_ spread: Spread, _ line: Line) -> String {
        "\(spread.median.fixed(line.digits)) [\(spread.lowest.fixed(line.digits)) … \(spread.highest.fixed(line.digits))]"
    }
}

/// Microseconds of CPU that this process spends on one of `count` repetitions.
func cpuMicroseconds(per count: Int, _ body: () throws -> Void) rethrows -> Double {
    let start = processCPUNanoseconds()
    try body()
    return Double(processCPUNanoseconds() - start) / 1e3 / Double(count)
}
