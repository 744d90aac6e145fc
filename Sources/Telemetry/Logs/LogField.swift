/// How log lines are written.
package enum LogFormat: String, Sendable {
    /// `2026-… INFO message key=value`, for people.
    case text
    /// One JSON object per line.
    case json
}

extension [UInt8] {
    /// Appends a value of a text line: as it is when it is a plain word, else quoted and escaped.
    mutating func append(textValue value: String) {
        let plain =
            !value.isEmpty
            && value.utf8.allSatisfy { byte in
                byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
                    && byte != UInt8(ascii: "=")
            }
        if plain {
            append(text: value)
        } else {
            append(UInt8(ascii: "\""))
            append(escaping: value)
            append(UInt8(ascii: "\""))
        }
    }
}
