internal import Bytes
internal import Inference

/// A JSON object that has been checked as a whole, read member by member without decoding the rest.
struct JSONTree {
    let root: JSONNode

    private static let checker = JSONReader(names: ["metadata"])

    init(_ bytes: [UInt8]) throws(JSONError) {
        try Self.checker.read(bytes.span.bytes) { _ in }
        root = JSONNode(bytes: bytes, range: 0..<bytes.count)
    }
}

/// A value of a `JSONTree`. What is asked of a value of another kind reads as absent.
struct JSONNode {
    /// The document; shared, not copied.
    let bytes: [UInt8]
    let range: Range<Int>

    /// The members of these names in one pass over the object, in the order of the names; nil for those that are absent or null.
    func members(_ names: String...) -> [JSONNode?] {
        var found: [JSONNode?] = names.map { _ in nil }
        let bytes = bytes
        let span = bytes.span.bytes
        JSONParts.forEachMember(of: span, from: range.lowerBound) { part in
            if let index = names.firstIndex(where: { JSONParts.isName(part.keyRange, in: span, $0) }) {
                let node = JSONNode(bytes: bytes, range: part.valueRange)
                found[index] = node.isNull ? nil : node
            }
            return true
        }
        return found
    }

    subscript(_ name: String) -> JSONNode? {
        members(name)[0]
    }

    /// All members of the object, in their order.
    var members: [(name: String, value: JSONNode)] {
        var all: [(name: String, value: JSONNode)] = []
        let bytes = bytes
        let span = bytes.span.bytes
        JSONParts.forEachMember(of: span, from: range.lowerBound) { part in
            if let name = JSONParts.string(part.keyRange, in: span) {
                all.append((name, JSONNode(bytes: bytes, range: part.valueRange)))
            }
            return true
        }
        return all
    }

    /// The elements of the array; none when it is something else.
    var elements: [JSONNode] {
        var all: [JSONNode] = []
        let bytes = bytes
        JSONParts.forEachElement(of: bytes.span.bytes, from: range.lowerBound) { range in
            all.append(JSONNode(bytes: bytes, range: range))
            return true
        }
        return all
    }

    var isNull: Bool { text == "null" }
    var isObject: Bool { !range.isEmpty && bytes[range.lowerBound] == UInt8(ascii: "{") }

    var isArray: Bool { !range.isEmpty && bytes[range.lowerBound] == UInt8(ascii: "[") }

    var string: String? { JSONParts.string(range, in: bytes.span.bytes) }

    /// A whole number, written as one.
    var integer: Int? { range.count <= 20 ? Int(text) : nil }

    var bool: Bool? {
        switch text {
        case "true": true
        case "false": false
        default: nil
        }
    }

    /// The members whose values are texts.
    var stringMap: [String: String] {
        Dictionary(members.compactMap { member in member.value.string.map { (member.name, $0) } }) { _, last in last }
    }

    private var text: String {
        range.count <= 20 ? String(decoding: bytes[range], as: UTF8.self) : ""
    }
}
