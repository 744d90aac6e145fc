import Glibc

/// Where values lie between the ends of an axis, and which of them are marked.
struct AxisScale {
    let low: Double
    let high: Double
    let ticks: [Double]
    let isLogarithmic: Bool

    /// Ends that are round numbers around all values. A logarithmic axis shows positive values only, and where there are none
    /// it is a linear one.
    ///
    /// - Parameter fromZero: whether a linear axis must begin (or end) at 0.
    init(_ values: [Double], isLogarithmic: Bool, fromZero: Bool) {
        let finite = values.filter(\.isFinite)
        let positive = finite.filter { $0 > 0 }
        self.isLogarithmic = isLogarithmic && !positive.isEmpty
        if self.isLogarithmic {
            (low, high, ticks) = Self.decades(positive.min() ?? 1, positive.max() ?? 1)
        } else {
            var (lowest, highest) = (finite.min() ?? 0, finite.max() ?? 1)
            if fromZero { (lowest, highest) = (min(0, lowest), max(0, highest)) }
            if lowest == highest { highest = lowest + max(1, lowest.magnitude) }
            (low, high, ticks) = Self.steps(lowest, highest)
        }
    }

    /// 0 at the lower end, 1 at the upper one; nil for what the axis cannot show.
    func place(_ value: Double) -> Double? {
        guard value.isFinite else { return nil }
        guard isLogarithmic else { return (value - low) / (high - low) }
        return value > 0 ? log(value / low) / log(high / low) : nil
    }

    /// About five steps of 1, 2 or 5 times a power of ten.
    private static func steps(_ lowest: Double, _ highest: Double) -> (Double, Double, [Double]) {
        let rough = (highest - lowest) / 5
        let power = pow(10, floor(log10(rough)))
        let step = ([1, 2, 5, 10].first { $0 * power >= rough * 0.999 } ?? 10) * power
        let (first, last) = (floor(lowest / step + 1e-9), ceil(highest / step - 1e-9))
        return (first * step, last * step, (0...Int(last - first)).map { (first + Double($0)) * step })
    }

    /// From one of 1, 2, 5 times a power of ten to another. Only powers are marked where more would not fit.
    private static func decades(_ lowest: Double, _ highest: Double) -> (Double, Double, [Double]) {
        let (bottom, top) = (Int(floor(log10(lowest) + 1e-9)), Int(ceil(log10(highest) - 1e-9)))
        let all = (bottom...max(top, bottom + 1)).flatMap { exponent in
            [1, 2, 5].map { $0 * pow(10, Double(exponent)) }
        }
        let low = all.last { $0 <= lowest * 1.000001 } ?? lowest
        var high = all.first { $0 >= highest * 0.999999 } ?? highest
        if high <= low { high = all.first { $0 > low * 1.000001 } ?? low * 10 }
        let inside = all.filter { $0 >= low * 0.999999 && $0 <= high * 1.000001 }
        guard inside.count > 8 else { return (low, high, inside) }
        let powers = inside.filter { (log10($0) - log10($0).rounded()).magnitude < 1e-6 }
        let stride = (powers.count + 7) / 8
        return (low, high, powers.enumerated().filter { $0.offset % stride == 0 }.map(\.element))
    }

    /// A tick's value, as short as it can be told: `0.05`, `2,000`, `20 k`, `5 M`.
    static func label(_ value: Double) -> String {
        let (scaled, suffix): (Double, String) =
            switch value.magnitude {
            case 1e9...: (value / 1e9, " G")
            case 1e6...: (value / 1e6, " M")
            case 1e4...: (value / 1e3, " k")
            default: (value, "")
            }
        for digits in 0...6 where (scaled.rounded(digits) - scaled).magnitude <= scaled.magnitude * 1e-6 {
            return scaled.grouped(digits) + suffix
        }
        return "\(scaled)" + suffix
    }
}
