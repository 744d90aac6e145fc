internal import Bytes
private import CSimdJSON

/// Why bytes are not the JSON that was expected.
package struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Where, in bytes from the start.
    package let offset: Int
    package let problem: String

    package var description: String { "\(problem) at byte \(offset)" }
}

package enum JSONKind: UInt8, Sendable {
    // The values of apus_json_kind.
    case null, `false`, `true`, number, string, array, object
}

/// Where a member of an object lies.
package struct JSONMember: Sendable, Equatable {
    /// The key, quotes included.
    package let keyRange: Range<Int>
    /// The value; a string's quotes included.
    package let valueRange: Range<Int>
    package let kind: JSONKind
    /// How many elements or members the value has directly; 0 for scalars.
    package let elementCount: Int
    /// How many numbers and strings the value holds at any depth.
    package let numberCount: Int
    package let stringCount: Int
    /// How many members of this name the object has; the rest describes the last.
    package let occurrences: Int
    /// Whether the value is a string with an escape in it.
    package let isEscaped: Bool

    /// The value without a string's quotes.
    package var contentRange: Range<Int> {
        kind == .string ? valueRange.lowerBound + 1..<valueRange.upperBound - 1 : valueRange
    }
}

/// Locates members of JSON objects without decoding them.
///
/// The whole document is checked: what passes is one object as RFC 8259 defines it, in UTF-8, at most 10,000 levels deep. Only escapes of
/// lone surrogates are let through, as most servers do. The names to look for are fixed when the reader is made, once per process: keep
/// readers in static constants.
package struct JSONReader: Sendable {
    // Written before the reader is shared and never freed.
    nonisolated(unsafe) private let table: OpaquePointer
    private let nameCount: Int

    /// A reader for up to 64 names of up to 63 bytes each.
    package init(names: [StaticString]) {
        nameCount = names.count
        let pointers = names.map {
            UnsafeRawPointer($0.utf8Start).assumingMemoryBound(to: CChar.self) as UnsafePointer<CChar>?
        }
        guard let table = apus_json_names_create(pointers, names.count) else {
            preconditionFailure("a JSON reader takes at most 64 names of 1 to 63 bytes")
        }
        self.table = table
    }

    /// Runs `body` with the object's members of the reader's names, in their order; an absent one is nil.
    package func read<Result>(
        _ bytes: RawSpan,
        _ body: (borrowing Found) -> Result
    ) throws(JSONError) -> Result {
        try run(bytes, apus_json_read_object, body) { $0 == APUS_JSON_OK }
    }

    /// The same for the start of an object whose rest has not arrived: members that are complete are found.
    package func readStart<Result>(
        _ bytes: RawSpan,
        _ body: (borrowing Found) -> Result
    ) throws(JSONError) -> Result {
        try run(bytes, apus_json_read_object_start, body) { $0 == APUS_JSON_OK || $0 == APUS_JSON_UNEXPECTED_END }
    }

    /// What a reading found, by the index of the name. Valid only while the closure runs.
    package struct Found: ~Copyable {
        fileprivate let members: UnsafeMutableBufferPointer<apus_json_member>

        package var count: Int { members.count }

        package subscript(index: Int) -> JSONMember? {
            let member = members[index]
            guard member.occurrences > 0, let kind = JSONKind(rawValue: member.kind) else { return nil }
            return JSONMember(
                keyRange: Int(member.key_start)..<Int(member.key_end),
                valueRange: Int(member.value_start)..<Int(member.value_end),
                kind: kind,
                elementCount: Int(member.elements),
                numberCount: Int(member.numbers),
                stringCount: Int(member.strings),
                occurrences: Int(member.occurrences),
                isEscaped: member.escaped
            )
        }
    }

    private typealias Function = (
        UnsafePointer<UInt8>?, Int, OpaquePointer?, UnsafeMutablePointer<apus_json_member>?
    ) -> apus_json_outcome

    private func run<Result>(
        _ bytes: RawSpan,
        _ function: Function,
        _ body: (borrowing Found) -> Result,
        accepting: (apus_json_code) -> Bool
    ) throws(JSONError) -> Result {
        let outcome: Swift.Result<Result, JSONError> = withUnsafeTemporaryAllocation(
            of: apus_json_member.self,
            capacity: nameCount
        ) { members in
            let outcome = bytes.withUnsafeBytes { bytes in
                function(
                    bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    bytes.count,
                    table,
                    members.baseAddress
                )
            }
            guard accepting(outcome.code) else {
                return .failure(JSONError(offset: Int(outcome.offset), problem: Self.problem(outcome.code)))
            }
            return .success(body(Found(members: members)))
        }
        return try outcome.get()
    }

    private static func problem(_ code: apus_json_code) -> String {
        switch code {
        case APUS_JSON_EMPTY: "unexpected end of JSON input"
        case APUS_JSON_TOO_LARGE: "document too large"
        case APUS_JSON_NO_MEMORY: "not enough memory for the document"
        case APUS_JSON_BYTE_ORDER_MARK: "byte order mark"
        case APUS_JSON_INVALID_UTF8: "invalid UTF-8 before the end"
        case APUS_JSON_UNCLOSED_STRING: "unclosed string before the end"
        case APUS_JSON_CONTROL_CHARACTER: "control character in a string before the end"
        case APUS_JSON_NOT_AN_OBJECT: "expected an object"
        case APUS_JSON_EXPECTED_KEY: "expected a member's name"
        case APUS_JSON_EXPECTED_COLON: "expected a colon"
        case APUS_JSON_EXPECTED_VALUE: "expected a value"
        case APUS_JSON_EXPECTED_COMMA_OR_BRACE: "expected a comma or a closing brace"
        case APUS_JSON_EXPECTED_COMMA_OR_BRACKET: "expected a comma or a closing bracket"
        case APUS_JSON_BAD_STRING: "invalid string"
        case APUS_JSON_BAD_NUMBER: "invalid number"
        case APUS_JSON_BAD_LITERAL: "invalid literal"
        case APUS_JSON_TOO_DEEP: "exceeded the nesting depth of \(APUS_JSON_MAX_DEPTH)"
        case APUS_JSON_UNEXPECTED_END: "unexpected end of JSON input"
        case APUS_JSON_TRAILING_BYTES: "bytes behind the object"
        default: "invalid JSON"
        }
    }
}
