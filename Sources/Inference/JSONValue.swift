internal import Bytes

/// Reading and writing of single JSON values.
package enum JSONValue {
    /// The text of a string member; lone surrogates become U+FFFD. Nil when the member is no string.
    package static func string(_ member: JSONMember, in bytes: RawSpan) -> String? {
        guard member.kind == .string else { return nil }
        let content = bytes.extracting(member.contentRange)
        return member.isEscaped ? ByteScan.unescaped(content) : String(repairing: content)
    }

    /// The value of a number member that is a whole number from 0 to 2^53, however it is written. Nil for everything else.
    package static func count(_ member: JSONMember, in bytes: RawSpan) -> Int? {
        guard member.kind == .number else { return nil }
        let digits = bytes.extracting(member.valueRange)
        var value = 0
        for offset in 0..<digits.byteCount {
            let digit = digits[offset]
            guard ASCII.isDigit(digit), offset < 16 else { return wholeNumber(String(repairing: digits)) }
            value = value * 10 + Int(digit - 0x30)
        }
        return value <= largestCount ? value : nil
    }

    private static let largestCount = 1 << 53

    private static func wholeNumber(_ text: String) -> Int? {
        // Longer texts are not written by anything that counts tokens.
        guard text.utf8.count <= 64, let value = Double(text) else { return nil }
        guard value >= 0, value <= Double(largestCount), value.rounded() == value else { return nil }
        return Int(value)
    }

    /// The text as a JSON string with its quotes. Only what must be escaped is.
    package static func quoted(_ text: String) -> [UInt8] {
        let hexadecimal = Array("0123456789abcdef".utf8)
        var output: [UInt8] = []
        output.reserveCapacity(text.utf8.count + 2)
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                output.append(UInt8(ascii: "\\"))
                output.append(byte)
            case 0x0A: output.append(contentsOf: "\\n".utf8)
            case 0x0D: output.append(contentsOf: "\\r".utf8)
            case 0x09: output.append(contentsOf: "\\t".utf8)
            case ..<0x20:
                output.append(contentsOf: "\\u00".utf8)
                output.append(hexadecimal[Int(byte >> 4)])
                output.append(hexadecimal[Int(byte & 15)])
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
        return output
    }
}
