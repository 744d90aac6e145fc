/// A JSON document, as much as the simulator needs: requests are read into it, answers of the admin pages are written from it.
enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(Double)
    /// A whole number as it was written, up to 63 bits.
    case integer(Int)
    case string(String)
    /// Only written: a text that is JSON already.
    case raw(String)
    case array([JSONValue])
    /// In the document's order; of equal names the last one counts.
    case object([(String, JSONValue)])

    static func == (left: JSONValue, right: JSONValue) -> Bool {
        left.text == right.text
    }

    subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.0 == name }?.1
    }

    var members: [(String, JSONValue)]? {
        if case .object(let members) = self { members } else { nil }
    }

    var elements: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    var string: String? {
        if case .string(let string) = self { string } else { nil }
    }

    var double: Double? {
        switch self {
        case .number(let number): number
        case .integer(let integer): Double(integer)
        default: nil
        }
    }

    var integer: Int? {
        if case .integer(let integer) = self { integer } else { double.flatMap { Int(exactly: $0) } }
    }

    var bool: Bool? {
        if case .bool(let bool) = self { bool } else { nil }
    }

    var isNull: Bool {
        if case .null = self { true } else { false }
    }

    // MARK: Writing

    var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let bool): text += bool ? "true" : "false"
        case .integer(let integer): text += "\(integer)"
        case .number(let number):
            if let integer = Int(exactly: number) { text += "\(integer)" } else { text += "\(number)" }
        case .string(let string): text += string.quotedAsJSON
        case .raw(let raw): text += raw
        case .array(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += "," }
                element.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { text += "," }
                text += member.0.quotedAsJSON
                text += ":"
                member.1.write(to: &text)
            }
            text += "}"
        }
    }
}

extension String {
    /// As a JSON string, quotes included.
    var quotedAsJSON: String {
        var result: [UInt8] = [0x22]
        result.reserveCapacity(utf8.count + 2)
        let hexadecimal = Array("0123456789abcdef".utf8)
        for byte in utf8 {
            switch byte {
            case 0x22, 0x5C: result += [0x5C, byte]
            case 0x0A: result += [0x5C, 0x6E]
            case 0x0D: result += [0x5C, 0x72]
            case 0x09: result += [0x5C, 0x74]
            case 0..<0x20:
                result += [0x5C, 0x75, 0x30, 0x30, hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
            default: result.append(byte)
            }
        }
        result.append(0x22)
        return String(decoding: result, as: UTF8.self)
    }
}
