/// Draws a chart: curves over a number, or bars in groups, with spread bars from the lowest to the highest round.
struct ChartDrawing {
    private let chart: Chart
    private let vertical: AxisScale
    private var drawing: Drawing
    private let left = 58.0
    private let top = 14.0
    private let right: Double
    private let bottom: Double
    private let tiltsNames: Bool

    /// Charts with so many bars take the width of two.
    static func isWide(_ chart: Chart) -> Bool {
        guard let groups = chart.groups else { return false }
        return groups.count * chart.series.count > 24 || groups.count > 12
    }

    static func svg(_ chart: Chart) -> String {
        var drawing = ChartDrawing(chart)
        drawing.drawGrid()
        if let groups = chart.groups { drawing.drawBars(groups) } else { drawing.drawCurves() }
        return drawing.drawing.svg(label: chart.title)
    }

    private init(_ chart: Chart) {
        self.chart = chart
        let width = Self.isWide(chart) ? 1150.0 : 560.0
        right = width - 16
        let room = (right - left) / Double(max(1, chart.groups?.count ?? 1))
        let longest = chart.groups?.map(\.count).max() ?? 0
        tiltsNames = Double(longest) * 6.4 > room
        bottom = 264
        drawing = Drawing(width: width, height: bottom + (tiltsNames ? 30 + min(120, Double(longest) * 3.4) : 46))
        let values = chart.series.flatMap { $0.points.flatMap { [$0.y.lowest, $0.y.median, $0.y.highest] } }
        vertical = AxisScale(values, isLogarithmic: chart.y.isLogarithmic, fromZero: true)
    }

    private func y(_ value: Double) -> Double? {
        vertical.place(value).map { bottom - $0 * (bottom - top) }
    }

    private mutating func drawGrid() {
        for tick in vertical.ticks {
            guard let y = y(tick) else { continue }
            drawing.line((left, y), (right, y), style: "grid")
            drawing.text(AxisScale.label(tick), at: (left - 7, y + 4), anchor: .end)
        }
        drawing.line((left, bottom), (right, bottom), style: "axis")
        let unit = chart.x.unit.isEmpty || chart.x.title.isEmpty ? chart.x.unit : ", " + chart.x.unit
        drawing.text(chart.x.title + unit, at: ((left + right) / 2, drawing.height - 6), style: "t strong")
    }

    /// From the lowest to the highest round.
    private mutating func drawSpread(_ spread: Spread, x: Double, style: String) {
        guard spread.isOfMany, let high = y(spread.highest), let low = y(spread.lowest) ?? y(vertical.low) else {
            return
        }
        drawing.line((x, low), (x, high), style: style)
        for end in [low, high] { drawing.line((x - 3, end), (x + 3, end), style: style) }
    }

    private func hint(_ series: Chart.Series, _ place: String, _ value: Spread) -> String {
        let digits = value.median.magnitude >= 100 ? 0 : value.median.magnitude >= 1 ? 2 : 4
        return [series.name, place, value.text(digits) + (chart.y.unit.isEmpty ? "" : " " + chart.y.unit)]
            .filter { !$0.isEmpty }.joined(separator: " · ")
    }

    // MARK: Curves

    private mutating func drawCurves() {
        let places = chart.series.flatMap { $0.points.map(\.x) }
        let horizontal = AxisScale(places, isLogarithmic: chart.x.isLogarithmic, fromZero: false)
        // Points at the ends should not sit on the axis.
        let (from, to) = (left + 14, right - 14)
        func x(_ value: Double) -> Double? { horizontal.place(value).map { from + $0 * (to - from) } }
        for tick in horizontal.ticks {
            guard let x = x(tick) else { continue }
            drawing.line((x, bottom), (x, bottom + 4), style: "axis")
            drawing.text(AxisScale.label(tick), at: (x, bottom + 18))
        }
        for (number, series) in chart.series.enumerated() {
            let style = Drawing.style(number)
            let points = series.points.sorted { $0.x < $1.x }.compactMap { point in
                x(point.x).flatMap { x in y(point.y.median).map { (x: x, y: $0, point: point) } }
            }
            drawing.path(points.map { ($0.x, $0.y) }, style: "curve \(style)\(number >= 8 ? " dashed" : "")")
            for place in points {
                drawSpread(place.point.y, x: place.x, style: "whisker \(style)")
                let unit = chart.x.unit.isEmpty ? "" : " " + chart.x.unit
                drawing.marker(
                    Drawing.Marker.allCases[number % Drawing.Marker.allCases.count],
                    at: (place.x, place.y),
                    style: "dot \(style)",
                    title: hint(series, AxisScale.label(place.point.x) + unit, place.point.y)
                )
            }
        }
    }

    // MARK: Bars

    private mutating func drawBars(_ groups: [String]) {
        let room = (right - left) / Double(max(1, groups.count))
        let count = Double(max(1, chart.series.count))
        let width = min(36, room * 0.8 / count)
        let isLabelled = groups.count * chart.series.count <= 12
        for (group, name) in groups.enumerated() {
            let middle = left + (Double(group) + 0.5) * room
            if tiltsNames {
                drawing.text(name, at: (middle + 4, bottom + 15), anchor: .end, tilt: -32)
            } else {
                drawing.text(name, at: (middle, bottom + 18))
            }
            for (number, series) in chart.series.enumerated() {
                guard let point = series.points.first(where: { Int($0.x) == group }), let y = y(point.y.median),
                    let base = vertical.isLogarithmic ? bottom : self.y(0)
                else { continue }
                let x = middle + (Double(number) - count / 2) * width
                drawing.bar(
                    x: x + 1,
                    y: min(y, base),
                    width: width - 2,
                    height: (base - y).magnitude,
                    style: "bar \(Drawing.style(number))",
                    title: hint(series, name, point.y)
                )
                drawSpread(point.y, x: x + width / 2, style: "whisker ink")
                if isLabelled {
                    let above = min(y, self.y(point.y.highest) ?? y) - 4
                    drawing.text(Self.short(point.y.median), at: (x + width / 2, above), style: "t value")
                }
            }
        }
    }

    /// Three digits that count.
    private static func short(_ value: Double) -> String {
        switch value.magnitude {
        case 1e4...: AxisScale.label((value / 100).rounded() * 100)
        case 100...: value.grouped(0)
        case 10...: value.fixed(1)
        case 0: "0"
        case 0.1...: value.fixed(2)
        default: value.fixed(4)
        }
    }
}
