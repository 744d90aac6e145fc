/// What people have found out about why goals are missed.
struct GoalReasons {
    private var texts: [(goal: String, text: String)] = []

    init(file: String) throws {
        guard let text = readFile(file) else { throw BenchError("cannot read \(file)") }
        try self.init(text, name: file)
    }

    /// - Parameter text: lines `SUITE.GOAL: TEXT`; empty ones and those that begin with `#` say nothing.
    init(_ text: String, name: String) throws {
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard !line.allSatisfy(\.isWhitespace), line.first != "#" else { continue }
            guard let end = line.firstRange(of: ": "), line[..<end.lowerBound].contains(".") else {
                throw BenchError("\(name):\(number + 1): not a line SUITE.GOAL: TEXT")
            }
            texts.append((String(line[..<end.lowerBound]), String(line[end.upperBound...])))
        }
    }

    /// Adds the reasons to what the goals say of themselves; returns the keys of those that there are no goals for.
    func attach(to sections: inout [Section]) -> [String] {
        var unknown: [String] = []
        for (goal, text) in texts {
            var isKnown = false
            for section in sections.indices {
                for index in sections[section].goals.indices
                where goal == "\(sections[section].key).\(sections[section].goals[index].key)" {
                    isKnown = true
                    let own = sections[section].goals[index].reason
                    sections[section].goals[index].reason = own.map { "\($0) \(text)" } ?? text
                }
            }
            if !isKnown { unknown.append(goal) }
        }
        return unknown
    }
}
