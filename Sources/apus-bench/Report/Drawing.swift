/// A plot being drawn: elements of SVG, with coordinates rounded to tenths.
struct Drawing {
    let width: Double
    let height: Double
    private var elements: [String] = []

    enum Anchor: String { case start, middle, end }

    /// Shapes of points, so that curves can be told apart without their colours.
    enum Marker: Int, CaseIterable { case circle, square, diamond, triangle }

    init(width: Double, height: Double) {
        self.width = width
        self.height = height
    }

    /// The colour's style class of the series with a number.
    static func style(_ series: Int) -> String { "s\(series % 8)" }

    func svg(label: String) -> String {
        let box = "0 0 \(width.fixed(0)) \(height.fixed(0))"
        return #"<svg viewBox="\#(box)" role="img" aria-label="\#(label.escapedForHTML)">"# + "\n"
            + elements.joined(separator: "\n") + "\n</svg>\n"
    }

    mutating func line(_ from: (Double, Double), _ to: (Double, Double), style: String) {
        let (x1, y1, x2, y2) = (from.0.fixed(1), from.1.fixed(1), to.0.fixed(1), to.1.fixed(1))
        elements.append(#"<line class="\#(style)" x1="\#(x1)" y1="\#(y1)" x2="\#(x2)" y2="\#(y2)"/>"#)
    }

    mutating func path(_ points: [(Double, Double)], style: String) {
        let list = points.map { "\($0.0.fixed(1)),\($0.1.fixed(1))" }.joined(separator: " ")
        elements.append(#"<polyline class="\#(style)" points="\#(list)"/>"#)
    }

    /// A bar with rounded upper corners; `title` is shown while the pointer is on it.
    mutating func bar(x: Double, y: Double, width: Double, height: Double, style: String, title: String) {
        let corner = min(2, width / 2, max(0, height))
        let outline =
            "M\(x.fixed(1)),\((y + height).fixed(1)) V\((y + corner).fixed(1)) q0,-\(corner.fixed(1)) \(corner.fixed(1)),-\(corner.fixed(1)) "
            + "H\((x + width - corner).fixed(1)) q\(corner.fixed(1)),0 \(corner.fixed(1)),\(corner.fixed(1)) V\((y + height).fixed(1)) Z"
        elements.append(#"<path class="\#(style)" d="\#(outline)"><title>\#(title.escapedForHTML)</title></path>"#)
    }

    mutating func marker(_ marker: Marker, at point: (Double, Double), style: String, title: String) {
        let (x, y) = point
        let corners: [(Double, Double)]
        switch marker {
        case .circle:
            elements.append(
                #"<circle class="\#(style)" cx="\#(x.fixed(1))" cy="\#(y.fixed(1))" r="4">"#
                    + "<title>\(title.escapedForHTML)</title></circle>"
            )
            return
        case .square: corners = [(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)]
        case .diamond: corners = [(0, -5), (5, 0), (0, 5), (-5, 0)]
        case .triangle: corners = [(0, -5), (4.6, 3.6), (-4.6, 3.6)]
        }
        let list = corners.map { "\((x + $0.0).fixed(1)),\((y + $0.1).fixed(1))" }.joined(separator: " ")
        elements.append(
            #"<polygon class="\#(style)" points="\#(list)"><title>\#(title.escapedForHTML)</title></polygon>"#
        )
    }

    /// `tilt` turns the text around its place, in degrees.
    mutating func text(
        _ text: String,
        at point: (Double, Double),
        anchor: Anchor = .middle,
        style: String = "t",
        tilt: Double = 0
    ) {
        let (x, y) = (point.0.fixed(1), point.1.fixed(1))
        let turn = tilt == 0 ? "" : #" transform="rotate(\#(tilt.fixed(0)) \#(x) \#(y))""#
        elements.append(
            #"<text class="\#(style)" x="\#(x)" y="\#(y)" text-anchor="\#(anchor.rawValue)"\#(turn)>"#
                + text.escapedForHTML + "</text>"
        )
    }
}

extension String {
    /// Safe between tags and within quoted attributes.
    var escapedForHTML: String {
        var text = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "&": text += "&amp;"
            case "<": text += "&lt;"
            case ">": text += "&gt;"
            case "\"": text += "&quot;"
            case "'": text += "&#39;"
            // Not allowed in HTML at all.
            case "\0"..<"\t", "\u{0B}"..<" ": text += "\u{FFFD}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
