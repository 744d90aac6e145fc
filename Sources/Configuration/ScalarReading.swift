/// Reads values out of plain scalars; nil for what is not one.
package enum ScalarReading {
    /// `true` and `false`, and the other words that YAML 1.1 has for them.
    package static func bool(_ text: String) -> Bool? {
        switch text {
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": true
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": false
        default: nil
        }
    }

    /// A decimal integer; also a number such as `4e6` that is one. A leading zero is refused, since some readers take it for octal.
    package static func integer(_ text: String) -> Int? {
        if let value = Int(text) {
            let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
            return digits.count > 1 && digits.first == UInt8(ascii: "0") ? nil : value
        }
        guard let value = number(text), let integer = Int(exactly: value) else { return nil }
        return integer
    }

    /// A finite decimal number, with or without fraction and exponent.
    package static func number(_ text: String) -> Double? {
        let allowed = text.utf8.allSatisfy {
            ($0 &- 0x30 < 10) || [0x2B, 0x2D, 0x2E, 0x45, 0x65].contains($0)
        }
        guard allowed, let value = Double(text), value.isFinite else { return nil }
        return value
    }

    /// A duration as Go writes it: `50ms`, `1m30s`, `1.5h`, `0`; units ns, us, ms, s, m, h. Beyond 100 years is nil.
    package static func duration(_ text: String) -> Duration? {
        var rest = Substring(text)
        var isNegative = false
        if let sign = rest.first, sign == "-" || sign == "+" {
            isNegative = sign == "-"
            rest = rest.dropFirst()
        }
        if rest == "0" { return .zero }
        guard !rest.isEmpty else { return nil }
        var nanoseconds = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            guard let value = number(String(digits)) else { return nil }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { !($0.isASCII && ($0.isNumber || $0 == ".")) }
            guard let scale = durationUnits[String(unit)] else { return nil }
            rest = rest.dropFirst(unit.count)
            nanoseconds += value * scale
        }
        guard nanoseconds <= 3.2e18 else { return nil }
        return .nanoseconds(Int64(nanoseconds.rounded()) * (isNegative ? -1 : 1))
    }

    private static let durationUnits: [String: Double] = [
        "ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9,
    ]

    /// A quantity as Kubernetes writes it: `100`, `1k`, `10Gi`, `1.5M`, `1e3`; fractions are rounded up.
    package static func quantity(_ text: String) -> Int? {
        let suffix = String(text.reversed().prefix { $0.isASCII && $0.isLetter }.reversed())
        guard let scale = quantitySuffixes[suffix] else { return nil }
        let digits = String(text.dropLast(suffix.count))
        if suffix.isEmpty, let value = integer(digits) { return value }
        guard !digits.isEmpty, let value = number(digits) else { return nil }
        return Int(exactly: (value * scale).rounded(.up))
    }

    /// A number of bytes: a quantity, also with a `B` behind it: `1048576`, `1Mi`, `1MiB`, `1MB`.
    package static func byteCount(_ text: String) -> Int? {
        quantity(text) ?? (text.hasSuffix("B") ? quantity(String(text.dropLast())) : nil)
    }

    private static let quantitySuffixes: [String: Double] = [
        "": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
        "Ki": 0x1p10, "Mi": 0x1p20, "Gi": 0x1p30, "Ti": 0x1p40, "Pi": 0x1p50, "Ei": 0x1p60,
    ]
}
