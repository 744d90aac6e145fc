/// The median and the ends of a few measurements.
struct Spread {
    let median: Double
    let lowest: Double
    let highest: Double

    init(_ values: [Double]) {
        let sorted = values.sorted()
        lowest = sorted.first ?? 0
        highest = sorted.last ?? 0
        median = sorted.isEmpty ? 0 : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }
}

extension [Double] {
    /// The value below which `share` of the values lie; the array must be sorted.
    func quantile(_ share: Double) -> Double {
        isEmpty ? 0 : self[Swift.min(count - 1, Int(share * Double(count)))]
    }
}

extension Double {
    func rounded(_ digits: Int) -> Double {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        return (self * scale).rounded() / scale
    }

    /// With exactly so many digits after the point.
    func fixed(_ digits: Int) -> String {
        let value = rounded(digits)
        guard value.isFinite, value.magnitude < 1e15 else { return "\(value)" }
        guard digits > 0 else { return "\(Int(value))" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let all = Int((value.magnitude * scale).rounded())
        let fraction = String(all % Int(scale))
        return (value < 0 ? "-" : "") + "\(all / Int(scale))." + String(repeating: "0", count: digits - fraction.count)
            + fraction
    }

    /// The same, with commas between thousands.
    func grouped(_ digits: Int) -> String {
        let text = fixed(digits)
        guard rounded(digits).magnitude >= 1000, isFinite, magnitude < 1e15 else { return text }
        let whole = text.prefix { $0 != "." }
        var grouped = ""
        for (place, digit) in whole.reversed().enumerated() {
            if place > 0, place % 3 == 0, digit != "-" { grouped.append(",") }
            grouped.append(digit)
        }
        return String(grouped.reversed()) + text.dropFirst(whole.count)
    }
}

extension Int {
    /// With commas between thousands.
    var grouped: String { Double(self).grouped(0) }

    /// With a noun that takes an s: `1 round`, `5 rounds`.
    func of(_ noun: String) -> String { "\(grouped) \(noun)\(self == 1 ? "" : "s")" }
}

extension String {
    func padded(to width: Int) -> String {
        String(repeating: " ", count: Swift.max(0, width - count)) + self
    }
}
