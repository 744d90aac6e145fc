// Appending text and numbers to bytes without building a String for each piece.
extension [UInt8] {
    mutating func append(text: String) {
        append(contentsOf: text.utf8)
    }

    mutating func append(text: StaticString) {
        text.withUTF8Buffer { append(contentsOf: $0) }
    }

    /// Appends an integer in base ten.
    mutating func append(decimal value: some BinaryInteger) {
        let magnitude = UInt64(value.magnitude)
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: magnitude, minimumDigits: 1)
    }

    /// Appends `value` with leading zeros up to `minimumDigits`, which is at most 20.
    mutating func append(decimal value: UInt64, minimumDigits: Int) {
        var digits = InlineArray<20, UInt8>(repeating: UInt8(ascii: "0"))
        var first = digits.count
        var rest = value
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            first -= 1
            digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
            rest = quotient
        } while rest > 0
        for position in Swift.min(first, digits.count - minimumDigits)..<digits.count { append(digits[position]) }
    }

    /// Appends a time given in nanoseconds as milliseconds with three decimals: `1500000` is `1.500`.
    mutating func append(millisecondsOf nanoseconds: UInt64) {
        append(decimal: nanoseconds / 1_000_000, minimumDigits: 1)
        append(UInt8(ascii: "."))
        append(decimal: nanoseconds / 1000 % 1000, minimumDigits: 3)
    }

    /// Appends a number as Go's Prometheus client writes it, so that an `le` label is the same text in both: the
    /// shortest digits, with an exponent only from 1e+06 up (for `1048576` too: `1.048576e+06`) and below 1e-04.
    mutating func append(prometheus value: Double) {
        guard value.isFinite else {
            append(text: value.isNaN ? "NaN" : value < 0 ? "-Inf" : "+Inf")
            return
        }
        let number = ShortestDecimal(value)
        if value < 0 { append(UInt8(ascii: "-")) }
        if number.exponent < -4 || number.exponent >= 6 {
            append(number.digits[0])
            if number.digits.count > 1 { append(UInt8(ascii: ".")) }
            append(contentsOf: number.digits.dropFirst())
            append(UInt8(ascii: "e"))
            append(UInt8(ascii: number.exponent < 0 ? "-" : "+"))
            append(decimal: UInt64(number.exponent.magnitude), minimumDigits: 2)
        } else if number.exponent < 0 {
            append(text: "0.")
            append(contentsOf: repeatElement(UInt8(ascii: "0"), count: -number.exponent - 1))
            append(contentsOf: number.digits)
        } else {
            for position in 0...Swift.max(number.exponent, number.digits.count - 1) {
                if position == number.exponent + 1 { append(UInt8(ascii: ".")) }
                append(position < number.digits.count ? number.digits[position] : UInt8(ascii: "0"))
            }
        }
    }
}

/// The shortest digits that read back as the same number: 0.00205 is digits "205", exponent -3 (2.05e-3).
private struct ShortestDecimal {
    var digits: [UInt8] = []
    var exponent = 0

    init(_ value: Double) {
        var point: Int?
        var written = 0
        let text = Array(value.magnitude.description.utf8)
        for (offset, byte) in text.enumerated() {
            if byte == UInt8(ascii: ".") {
                point = digits.count
            } else if byte == UInt8(ascii: "e") {
                written = Int(String(decoding: text[(offset + 1)...], as: UTF8.self)) ?? 0
                break
            } else {
                digits.append(byte)
            }
        }
        exponent = (point ?? digits.count) - 1 + written
        let zeros = digits.prefix { $0 == UInt8(ascii: "0") }.count
        digits.removeFirst(zeros)
        exponent -= zeros
        while digits.last == UInt8(ascii: "0") { digits.removeLast() }
        if digits.isEmpty {
            digits = [UInt8(ascii: "0")]
            exponent = 0
        }
    }
}

extension String {
    /// The string itself, or its beginning with `…` when it has more than `limit` bytes: what clients send may be of any
    /// length, what is kept and logged of it may not.
    func clipped(to limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var end = utf8.index(startIndex, offsetBy: limit)
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { utf8.formIndex(before: &end) }
        return self[..<end] + "…"
    }
}
