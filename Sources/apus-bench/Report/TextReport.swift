extension Report {
    /// For a terminal: the facts, and of each suite its method, tables and goals.
    var text: String {
        var text = "\nApus benchmark report\n"
        let width = facts.map(\.name.count).max() ?? 0
        for fact in facts { text += "  \(fact.name.padding(to: width))  \(fact.value)\n" }
        for warning in warnings { text += "\n  \(warning)\n" }
        for section in sections { text += section.text }
        return sections.count > 1 ? text + goals : text
    }

    /// Every goal of every suite in a line, so that nobody has to look for those that are missed.
    private var goals: String {
        let goals = sections.flatMap(\.goals)
        guard !goals.isEmpty else { return "" }
        var text = "\n== goals: \(goals.summary)\n\n"
        let width = sections.map(\.key.count).max() ?? 0
        for section in sections {
            for goal in section.goals { text += "   \(section.key.padding(to: width))  \(goal.line)\n" }
        }
        return text
    }
}

extension Section {
    fileprivate var text: String {
        var text = "\n== \(key): \(title)\n\n"
        for sentence in method { text += "   \(sentence)\n" }
        for table in tables { text += table.text }
        if !goals.isEmpty { text += "\n" }
        for goal in goals {
            text += "   \(goal.line)\n"
            if !goal.isMet, let reason = goal.reason { text += "           \(reason)\n" }
        }
        for fault in faults { text += "\n   FAULT: \(fault)\n" }
        return text
    }
}

extension Goal {
    fileprivate var line: String {
        let mark =
            switch outcome {
            case .met: "met"
            case .missed: "MISSED"
            case .unmeasured: "UNKNOWN"
            }
        return "\(mark.padding(to: 7)) \(title): \(verdict)"
    }
}

extension Table {
    /// The column titles over right-aligned values; medians, with the lowest and the highest round.
    fileprivate var text: String {
        let heads = columns.map { $0.unit.isEmpty ? $0.title : "\($0.title), \($0.unit)" }
        let cells = rows.map { row in
            zip(columns, row.values).map { column, value in value?.text(column.digits) ?? "–" }
        }
        let first = rows.map(\.title.count).max() ?? 0
        let widths = heads.indices.map { index in
            max(heads[index].count, cells.map { index < $0.count ? $0[index].count : 0 }.max() ?? 0) + 3
        }
        let isOfMany = rows.contains { $0.values.contains { $0?.isOfMany == true } }
        var text = "\n   \(title)\(isOfMany ? " (median [lowest … highest])" : "")\n"
        text += "   " + "".padding(to: first) + zip(heads, widths).map { $0.padded(to: $1) }.joined() + "\n"
        for (row, cells) in zip(rows, cells) {
            text += "   " + row.title.padding(to: first) + zip(cells, widths).map { $0.padded(to: $1) }.joined() + "\n"
        }
        return text
    }
}

extension String {
    /// With spaces behind it.
    func padding(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(0, width - count))
    }
}
