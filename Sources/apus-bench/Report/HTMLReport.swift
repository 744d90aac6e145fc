extension Report {
    /// One page that needs nothing else: style and plots are within it.
    var html: String {
        var page = """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Apus benchmark report, \(date.escapedForHTML)</title>
            <style>
            \(HTMLStyle.text)
            </style>
            </head>
            <body>
            <main>
            <h1>Apus benchmark report</h1>
            <dl class="facts">

            """
        for fact in facts {
            page += "<div><dt>\(fact.name.escapedForHTML)</dt><dd>\(fact.value.escapedForHTML)</dd></div>\n"
        }
        page += "</dl>\n"
        for warning in warnings { page += "<p class=\"warning\">\(warning.escapedForHTML)</p>\n" }
        page += summary
        for section in sections { page += section.html }
        return page + "</main>\n</body>\n</html>\n"
    }

    /// What was wrong, the goals of all suites, and links to them.
    private var summary: String {
        var text = ""
        for section in sections {
            for fault in section.faults {
                text += "<p class=\"fault\"><b>\(section.key.escapedForHTML)</b>: \(fault.escapedForHTML)</p>\n"
            }
        }
        let links = sections.map { "<a href=\"#\($0.key.escapedForHTML)\">\($0.key.escapedForHTML)</a>" }
        if sections.count > 1 { text += "<nav>\(links.joined(separator: " "))</nav>\n" }
        let goals = sections.flatMap(\.goals)
        guard !goals.isEmpty else { return text }
        text += "<h2>\(goals.summary)</h2>\n"
        text += "<div class=\"scroll\"><table class=\"goals\">\n<thead><tr><th>suite</th><th>goal</th><th></th>"
        text += "<th class=\"n\">measured</th><th class=\"n\">limit</th><th>of the limit</th></tr></thead>\n<tbody>\n"
        for section in sections {
            for goal in section.goals { text += goal.row(section.key) }
        }
        return text + "</tbody></table></div>\n"
    }
}

extension Goal {
    /// `met`, or by how much not.
    private var mark: String {
        if isMet { return #"<span class="met">✓ met</span>"# }
        guard value.isFinite else { return #"<span class="unknown">? not measured</span>"# }
        guard let miss else { return #"<span class="missed">✗ missed</span>"# }
        let share = (miss * 100).fixed(miss < 0.1 ? 1 : 0)
        return #"<span class="missed">✗ missed by \#(share) %</span>"#
    }

    fileprivate func row(_ suite: String) -> String {
        let unit = unit.isEmpty ? "" : " " + unit.escapedForHTML
        let reason = isMet ? "" : reason.map { "<div class=\"reason\">\($0.escapedForHTML)</div>" } ?? ""
        var text = "<tr><td><a href=\"#\(suite.escapedForHTML)\">\(suite.escapedForHTML)</a></td>"
        text += "<td>\(title.escapedForHTML)\(reason)</td><td>\(mark)</td>"
        text += "<td class=\"n\">\(value.isFinite ? value.grouped(digits) + unit : "–")</td>"
        text += "<td class=\"n\">\(isAtMost ? "≤" : "≥") \(limit.grouped(digits))\(unit)</td><td>\(gauge)</td></tr>\n"
        return text
    }

    /// A bar of the value, with the limit in its middle.
    private var gauge: String {
        guard limit > 0, value.isFinite else { return "" }
        let share = min(1, max(0, value / limit / 2))
        let style = isMet ? "good" : "bad"
        return #"<svg class="gauge" viewBox="0 0 120 12" role="img" aria-label="\#((value / limit * 100).fixed(0)) %">"#
            + #"<rect class="track" x="0" y="3" width="120" height="6" rx="3"/>"#
            + #"<rect class="\#(style)" x="0" y="3" width="\#((share * 120).fixed(1))" height="6" rx="3"/>"#
            + #"<line class="limit" x1="60" y1="0" x2="60" y2="12"/></svg>"#
    }
}

extension Section {
    fileprivate var html: String {
        var text = "<section id=\"\(key.escapedForHTML)\">\n"
        text += "<h2><code>\(key.escapedForHTML)</code> \(title.escapedForHTML)</h2>\n"
        for fault in faults { text += "<p class=\"fault\">\(fault.escapedForHTML)</p>\n" }
        if !method.isEmpty {
            text += "<p class=\"method\">\(method.map(\.escapedForHTML).joined(separator: " "))</p>\n"
        }
        if !charts.isEmpty {
            text += "<div class=\"charts\">\n"
            for chart in charts { text += chart.html }
            text += "</div>\n"
        }
        for table in tables { text += table.html }
        return text + "</section>\n"
    }
}

extension Chart {
    fileprivate var html: String {
        let axis = [y.title, y.unit].filter { !$0.isEmpty }.map(\.escapedForHTML).joined(separator: ", ")
        var text = "<figure\(ChartDrawing.isWide(self) ? " class=\"wide\"" : "")>\n"
        text += "<figcaption>\(title.escapedForHTML)<small>\(axis)\(y.isLogarithmic ? ", logarithmic" : "")</small>"
        text += "</figcaption>\n"
        if series.count > 1 {
            text += "<p class=\"legend\">"
            for (number, series) in series.enumerated() {
                text += "<span>\(key(number))\(series.name.escapedForHTML)</span>"
            }
            text += "</p>\n"
        }
        return text + ChartDrawing.svg(self) + "</figure>\n"
    }

    /// What the legend shows of a series: its colour, and of curves its marker.
    private func key(_ number: Int) -> String {
        var drawing = Drawing(width: 22, height: 12)
        if groups == nil {
            let dash = number >= 8 ? " dashed" : ""
            drawing.line((1, 6), (21, 6), style: "curve \(Drawing.style(number))\(dash)")
            let markers = Drawing.Marker.allCases
            drawing.marker(
                markers[number % markers.count],
                at: (11, 6),
                style: "dot \(Drawing.style(number))",
                title: ""
            )
        } else {
            drawing.bar(x: 6, y: 1, width: 11, height: 10, style: "bar \(Drawing.style(number))", title: "")
        }
        return drawing.svg(label: "")
    }
}

extension Table {
    fileprivate var html: String {
        var text = "<h3>\(title.escapedForHTML)</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th></th>"
        for column in columns {
            let unit = column.unit.isEmpty ? "" : "<small>\(column.unit.escapedForHTML)</small>"
            text += "<th class=\"n\">\(column.title.escapedForHTML)\(unit)</th>"
        }
        text += "</tr></thead>\n<tbody>\n"
        for row in rows {
            text += "<tr><th>\(row.title.escapedForHTML)</th>"
            for (column, value) in zip(columns, row.values) {
                text += "<td class=\"n\">\(value?.html(column.digits) ?? "–")</td>"
            }
            text += "</tr>\n"
        }
        return text + "</tbody></table></div>\n"
    }
}

extension Spread {
    fileprivate func html(_ digits: Int) -> String {
        guard median.isFinite else { return "–" }
        let ends = isOfMany ? "<small>\(lowest.grouped(digits)) … \(highest.grouped(digits))</small>" : ""
        return median.grouped(digits) + ends
    }
}
