/// Comparisons of header names and the like, byte by byte, without locale.
package enum ASCII {
    @inline(__always)
    package static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    @inline(__always)
    package static func isWhitespace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (byte >= 0x09 && byte <= 0x0D)
    }

    @inline(__always)
    package static func isDigit(_ byte: UInt8) -> Bool {
        byte &- 0x30 < 10
    }

    /// Whether two texts are equal when A–Z are read as a–z.
    package static func equalsIgnoringCase(_ left: String, _ right: String) -> Bool {
        let a = left.utf8
        let b = right.utf8
        return a.count == b.count && zip(a, b).allSatisfy { lowercased($0) == lowercased($1) }
    }

    /// The text with A–Z as a–z; other bytes stay.
    package static func lowercased(_ text: String) -> String {
        if text.utf8.allSatisfy({ $0 &- 0x41 >= 26 }) { return text }
        return String(decoding: text.utf8.map(lowercased), as: UTF8.self)
    }

    /// The text without white space at both ends.
    package static func trimmed(_ text: Substring) -> Substring {
        var rest = text.utf8
        while let first = rest.first, isWhitespace(first) { rest = rest.dropFirst() }
        while let last = rest.last, isWhitespace(last) { rest = rest.dropLast() }
        return Substring(rest)
    }
}
