/// Builds one JSON text in bytes, with commas and escapes put where they belong. The caller keeps the nesting right by
/// the closures; a member's name is written as it is given, in the order of the calls.
///
///     var json = JSONWriter()
///     json.object { $0.member("name", "a"); $0.array("ports") { $0.value(8000) }; $0.member(.init(scorer), 0.5) }
package struct JSONWriter {
    /// The name of a member: a literal, which must need no escape, or any text.
    package struct Name: ExpressibleByStringLiteral, Sendable {
        fileprivate enum Text { case plain(StaticString), any(String) }
        fileprivate let text: Text

        package init(_ text: StaticString) { self.text = .plain(text) }
        package init(stringLiteral text: StaticString) { self.text = .plain(text) }
        package init(_ text: String) { self.text = .any(text) }
    }

    /// What was written so far.
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init(reservingCapacity capacity: Int = 0) {
        bytes.reserveCapacity(capacity)
    }

    /// Writes an object as the whole text or as an array's element.
    package mutating func object(_ members: (inout JSONWriter) -> Void) {
        nested(open: "{", close: "}", members)
    }

    /// Writes an array as the whole text or as an array's element.
    package mutating func array(_ elements: (inout JSONWriter) -> Void) {
        nested(open: "[", close: "]", elements)
    }

    package mutating func object(_ name: Name, _ members: (inout JSONWriter) -> Void) {
        key(name)
        object(members)
    }

    package mutating func array(_ name: Name, _ elements: (inout JSONWriter) -> Void) {
        key(name)
        array(elements)
    }

    package mutating func member(_ name: Name, _ value: String?) {
        key(name)
        self.value(value)
    }

    package mutating func member(_ name: Name, _ value: (some BinaryInteger)?) {
        key(name)
        self.value(value)
    }

    package mutating func member(_ name: Name, _ value: Bool) {
        key(name)
        self.value(value)
    }

    /// A number; `null` when it is not finite, which JSON cannot say.
    package mutating func member(_ name: Name, _ value: Double?) {
        key(name)
        self.value(value)
    }

    package mutating func member(_ name: Name, _ value: Float?) {
        key(name)
        self.value(value)
    }

    package mutating func value(_ value: String?) {
        guard let value else { return null() }
        separate()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(escaping: value)
        bytes.append(UInt8(ascii: "\""))
    }

    package mutating func value(_ value: (some BinaryInteger)?) {
        guard let value else { return null() }
        separate()
        bytes.append(decimal: value)
    }

    package mutating func value(_ value: Bool) {
        separate()
        bytes.append(text: value ? "true" : "false")
    }

    package mutating func value(_ value: Double?) {
        guard let value, value.isFinite else { return null() }
        separate()
        bytes.append(text: value.description)
    }

    package mutating func value(_ value: Float?) {
        guard let value, value.isFinite else { return null() }
        separate()
        bytes.append(text: value.description)
    }

    package mutating func null() {
        separate()
        bytes.append(text: "null")
    }

    // MARK: Parts that the logs write themselves

    /// Writes a member's value by appending raw bytes, which must be one JSON value.
    mutating func member(_ name: Name, raw write: (inout [UInt8]) -> Void) {
        key(name)
        separate()
        write(&bytes)
    }

    /// Ends the text with a newline.
    mutating func endLine() {
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func key(_ name: Name) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        switch name.text {
        case .plain(let text): bytes.append(text: text)
        case .any(let text): bytes.append(escaping: text)
        }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    private mutating func nested(open: Unicode.Scalar, close: Unicode.Scalar, _ write: (inout JSONWriter) -> Void) {
        separate()
        bytes.append(UInt8(ascii: open))
        needsComma = false
        write(&self)
        bytes.append(UInt8(ascii: close))
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }
}

extension [UInt8] {
    /// Appends a string's UTF-8 with JSON's escapes. Beyond what JSON asks, DEL and the C1 controls (U+0080–U+009F) are
    /// escaped too, since a terminal that shows a log obeys them. A `String` is valid UTF-8 whatever the bytes were that
    /// it was decoded from.
    mutating func append(escaping text: String) {
        // Nearly every text needs no escape: one look at it, one copy.
        let plain = text.utf8.withContiguousStorageIfAvailable { bytes in
            bytes.allSatisfy {
                $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
            }
        }
        if plain == true {
            append(contentsOf: text.utf8)
            return
        }
        var afterC2 = false
        for byte in text.utf8 {
            if afterC2 {
                afterC2 = false
                if byte < 0xA0 {
                    appendUnicodeEscape(byte)
                } else {
                    append(0xC2)
                    append(byte)
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append(UInt8(ascii: "\\"))
                append(byte)
            case 0x0A: append(text: "\\n")
            case 0x0D: append(text: "\\r")
            case 0x09: append(text: "\\t")
            case 0..<0x20, 0x7F: appendUnicodeEscape(byte)
            case 0xC2: afterC2 = true
            default: append(byte)
            }
        }
    }

    private mutating func appendUnicodeEscape(_ byte: UInt8) {
        append(text: "\\u00")
        for digit in [byte >> 4, byte & 15] {
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }
}
