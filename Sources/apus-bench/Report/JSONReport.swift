/// A JSON value to be written; members keep their order.
indirect enum JSONNode {
    case null
    case number(Double)
    case bool(Bool)
    case text(String)
    case array([JSONNode])
    case object([(String, JSONNode)])

    var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let value):
            // JSON has no infinity; whole numbers need no point.
            if !value.isFinite {
                text += "null"
            } else if value == value.rounded(), value.magnitude < 1e15 {
                text += "\(Int(value))"
            } else {
                text += "\(value)"
            }
        case .text(let value): Self.quote(value, to: &text)
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += "," }
                value.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { text += "," }
                Self.quote(member.0, to: &text)
                text += ":"
                member.1.write(to: &text)
            }
            text += "}"
        }
    }

    private static func quote(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\0"..<" ":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}

extension Report {
    /// One object: the machine, and under `suites` what each found, tables and rows by their keys.
    var json: String {
        let node = JSONNode.object([
            ("date", .text(date)),
            ("seconds", .number(seconds.rounded(1))),
            ("short", .bool(isShort)),
            (
                "machine",
                .object([
                    ("cores", .number(Double(machine.cores))),
                    ("cpu", .text(machine.model)),
                    ("memory_gib", .number(machine.memoryGiB.rounded(1))),
                    ("kernel", .text(machine.kernel)),
                    ("system", .text(machine.system)),
                    ("load", .text(machine.loadAverage)),
                    ("build", .text(machine.isDebugBuild ? "debug" : "release")),
                    ("commit", machine.commit.map { .text($0) } ?? .null),
                ])
            ),
            ("suites", .object(sections.map { ($0.key, $0.json) })),
        ])
        return node.text + "\n"
    }
}

extension Section {
    fileprivate var json: JSONNode {
        .object([
            ("title", .text(title)),
            ("method", .array(method.map { .text($0) })),
            ("tables", .object(tables.map { ($0.key, $0.json) })),
            ("goals", .object(goals.map { ($0.key, $0.json) })),
            ("charts", .array(charts.map(\.json))),
            ("faults", .array(faults.map { .text($0) })),
        ])
    }
}

extension Table {
    fileprivate var json: JSONNode {
        let units = columns.map { ($0.key, JSONNode.text($0.unit)) }
        let rows = rows.map { row in
            let values = zip(columns, row.values).map { ($0.key, $1?.json(digits: $0.digits) ?? .null) }
            return (row.key, JSONNode.object([("title", .text(row.title))] + values))
        }
        return .object([("title", .text(title)), ("units", .object(units)), ("rows", .object(rows))])
    }
}

extension Goal {
    fileprivate var json: JSONNode {
        .object([
            ("title", .text(title)),
            ("unit", .text(unit)),
            ("value", .number(value.rounded(digits + 2))),
            (isAtMost ? "at_most" : "at_least", .number(limit)),
            ("met", .bool(isMet)),
            ("outcome", .text(outcome.rawValue)),
            ("reason", isMet ? .null : reason.map { .text($0) } ?? .null),
        ])
    }
}

extension Chart {
    fileprivate var json: JSONNode {
        let series = series.map { series in
            JSONNode.object([
                ("name", .text(series.name)),
                (
                    "points",
                    .array(
                        series.points.map { point in
                            .array([point.x, point.y.median, point.y.lowest, point.y.highest].map { .number($0) })
                        }
                    )
                ),
            ])
        }
        return .object([
            ("title", .text(title)),
            ("x", .object([("title", .text(x.title)), ("unit", .text(x.unit))])),
            ("y", .object([("title", .text(y.title)), ("unit", .text(y.unit))])),
            ("groups", groups.map { .array($0.map { .text($0) }) } ?? .null),
            ("series", .array(series)),
        ])
    }
}

extension Spread {
    fileprivate func json(digits: Int) -> JSONNode {
        .object(
            [("median", median), ("lowest", lowest), ("highest", highest)].map {
                ($0.0, .number($0.1.rounded(digits + 2)))
            }
        )
    }
}
