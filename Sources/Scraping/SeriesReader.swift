internal import Bytes

/// Walks over the labels and to the value of one line: `name{label="value",…} value [timestamp] [# exemplar]`.
struct SeriesReader: ~Escapable {
    struct Label {
        let name: Range<Int>
        /// Between the quotes, as written.
        let value: Range<Int>
        let hasEscapes: Bool

        func text(in line: RawSpan) -> String {
            guard hasEscapes else { return String(repairing: line.extracting(value)) }
            var bytes: [UInt8] = []
            var offset = value.lowerBound
            while offset < value.upperBound {
                var byte = line[offset]
                if byte == UInt8(ascii: "\\"), offset + 1 < value.upperBound {
                    offset += 1
                    byte = line[offset] == UInt8(ascii: "n") ? UInt8(ascii: "\n") : line[offset]
                }
                bytes.append(byte)
                offset += 1
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    private let line: RawSpan
    private var offset: Int
    private var isInLabels = false
    /// False once the line has broken the format: it has no value then.
    private var isWellFormed = true

    /// - Parameter offset: the end of the metric's name.
    @_lifetime(copy line)
    init(_ line: RawSpan, from offset: Int) {
        self.line = line
        self.offset = offset
        skipSpaces()
        if byte == UInt8(ascii: "{") {
            self.offset += 1
            isInLabels = true
        }
    }

    /// The byte at the cursor; 0 at the end of the line.
    private var byte: UInt8 { offset < line.byteCount ? line[offset] : 0 }

    @_lifetime(self: copy self)
    private mutating func skipSpaces() {
        while byte == 0x20 || byte == 0x09 { offset += 1 }
    }

    @_lifetime(self: copy self)
    mutating func nextLabel() -> Label? {
        guard isInLabels else { return nil }
        skipSpaces()
        if byte == UInt8(ascii: "}") {
            offset += 1
            isInLabels = false
            return nil
        }
        guard let name = takeName(), let (value, hasEscapes) = takeQuoted() else {
            isInLabels = false
            isWellFormed = false
            return nil
        }
        skipSpaces()
        if byte == UInt8(ascii: ",") { offset += 1 }
        return Label(name: name, value: value, hasEscapes: hasEscapes)
    }

    @_lifetime(self: copy self)
    private mutating func takeName() -> Range<Int>? {
        guard let equals = line.firstOffset(of: UInt8(ascii: "="), from: offset) else { return nil }
        var end = equals
        while end > offset, line[end - 1] == 0x20 || line[end - 1] == 0x09 { end -= 1 }
        defer { offset = equals + 1 }
        return end > offset ? offset..<end : nil
    }

    @_lifetime(self: copy self)
    private mutating func takeQuoted() -> (Range<Int>, Bool)? {
        skipSpaces()
        guard byte == UInt8(ascii: "\"") else { return nil }
        let start = offset + 1
        var hasEscapes = false
        var end = start
        while end < line.byteCount {
            switch line[end] {
            case UInt8(ascii: "\""):
                offset = end + 1
                return (start..<end, hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                end += 2
            default:
                end += 1
            }
        }
        return nil
    }

    /// The value behind the labels, all of which have been read, or nil when there is no number.
    @_lifetime(self: copy self)
    mutating func value() -> Double? {
        guard isWellFormed, !isInLabels else { return nil }
        skipSpaces()
        let start = offset
        while byte > 0x20 { offset += 1 }
        return Self.number(line.extracting(start..<offset))
    }

    // MARK: Numbers

    /// A number of Go's syntax as engines write it: decimal with fraction and exponent, `NaN`, `Inf` with a sign. Correctly rounded.
    static func number(_ text: RawSpan) -> Double? {
        var offset = 0
        var digits: UInt64 = 0
        var digitCount = 0
        var exponent = 0
        var isNegative = false
        if text.byteCount > 0, text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+") {
            isNegative = text[0] == UInt8(ascii: "-")
            offset = 1
        }
        let first = offset
        var hasPoint = false
        while offset < text.byteCount {
            let byte = text[offset]
            if ASCII.isDigit(byte) {
                // Past 2^53 the digits are not a Double any more, and past 19 not even this word: the slow way reads those.
                digits = digits &* 10 &+ UInt64(byte - 0x30)
                digitCount += 1
                if hasPoint { exponent -= 1 }
            } else if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else {
                break
            }
            offset += 1
        }
        guard digitCount > 0 else { return offset == first ? slowNumber(text) : nil }
        if offset < text.byteCount, text[offset] | 0x20 == UInt8(ascii: "e") {
            guard let written = signedInteger(text.extracting(droppingFirst: offset + 1)) else { return nil }
            exponent += written
            offset = text.byteCount
        }
        guard offset == text.byteCount else { return nil }
        // Clinger's fast path: digits and power are both exact, so one operation rounds once.
        guard digitCount <= 19, digits <= 1 << 53, exponent >= -22, exponent <= 22 else { return slowNumber(text) }
        let magnitude = exponent < 0 ? Double(digits) / powers[-exponent] : Double(digits) * powers[exponent]
        return isNegative ? -magnitude : magnitude
    }

    private static let powers: [Double] = (0...22).map { power in (0..<power).reduce(1.0) { value, _ in value * 10 } }

    private static func signedInteger(_ text: RawSpan) -> Int? {
        guard text.byteCount > 0 else { return nil }
        let isSigned = text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+")
        guard let count = text.extracting(droppingFirst: isSigned ? 1 : 0).count() else { return nil }
        return text[0] == UInt8(ascii: "-") ? -count : count
    }

    private static func slowNumber(_ text: RawSpan) -> Double? {
        guard text.byteCount <= 64 else { return nil }
        return Double(String(repairing: text))
    }
}
