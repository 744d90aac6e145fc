/// A protobuf writer and reader for tests: written by hand and apart from the code under test, so that one checks the other.
package struct ProtobufWriter {
    package var bytes: [UInt8] = []

    package init() {}

    package mutating func varint(_ field: Int, _ value: UInt64) {
        raw(UInt64(field) << 3)
        raw(value)
    }

    package mutating func flag(_ field: Int, _ value: Bool) {
        if value { varint(field, 1) }
    }

    package mutating func bytes(_ field: Int, _ value: some Collection<UInt8>) {
        raw(UInt64(field) << 3 | 2)
        raw(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    package mutating func text(_ field: Int, _ value: String) {
        bytes(field, Array(value.utf8))
    }

    package mutating func message(_ field: Int, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        bytes(field, inner.bytes)
    }

    private mutating func raw(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}

/// The fields of one message, in order. Reading malformed bytes gives nil.
package struct ProtobufFields {
    package enum Value: Equatable {
        case number(UInt64)
        case bytes([UInt8])
    }

    package var fields: [(number: Int, value: Value)] = []

    package init?(_ message: some Collection<UInt8>) {
        var rest = Array(message)[...]
        while !rest.isEmpty {
            guard let tag = Self.varint(&rest) else { return nil }
            switch tag & 7 {
            case 0:
                guard let value = Self.varint(&rest) else { return nil }
                fields.append((Int(tag >> 3), .number(value)))
            case 1, 5:
                let width = tag & 7 == 1 ? 8 : 4
                guard rest.count >= width else { return nil }
                let value = rest.prefix(width).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                rest = rest.dropFirst(width)
                fields.append((Int(tag >> 3), .number(value)))
            case 2:
                guard let length = Self.varint(&rest), length <= UInt64(rest.count) else { return nil }
                fields.append((Int(tag >> 3), .bytes(Array(rest.prefix(Int(length))))))
                rest = rest.dropFirst(Int(length))
            default:
                return nil
            }
        }
    }

    package func bytes(_ field: Int) -> [UInt8]? {
        for case (field, .bytes(let value)) in fields.reversed() { return value }
        return nil
    }

    package func all(_ field: Int) -> [[UInt8]] {
        fields.compactMap { number, value in
            if number == field, case .bytes(let bytes) = value { bytes } else { nil }
        }
    }

    package func text(_ field: Int) -> String? {
        bytes(field).map { String(decoding: $0, as: UTF8.self) }
    }

    package func number(_ field: Int) -> UInt64? {
        for case (field, .number(let value)) in fields.reversed() { return value }
        return nil
    }

    package func message(_ field: Int) -> ProtobufFields? {
        bytes(field).flatMap { ProtobufFields($0) }
    }

    private static func varint(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = rest.popFirst(), shift < 64 {
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
        return nil
    }
}
