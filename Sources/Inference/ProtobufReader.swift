internal import Bytes

/// Reads the fields of one protobuf message in order, without a schema, without recursion and without copying.
struct ProtobufReader {
    struct Malformed: Error {}

    enum Value {
        case number(UInt64)
        /// Four or eight bytes, where they lie.
        case fixed(Range<Int>)
        /// A string, bytes, a message or packed numbers, where they lie.
        case bytes(Range<Int>)
    }

    struct Field {
        let number: UInt64
        let value: Value
    }

    /// Where the next field begins.
    private(set) var offset: Int
    private let end: Int

    /// A reader of the message at `range`, which must lie within the bytes given to `next`.
    init(_ range: Range<Int>) {
        offset = range.lowerBound
        end = range.upperBound
    }

    /// The next field, or nil at the end. Groups, which nothing writes any more, are malformed.
    mutating func next(in bytes: RawSpan) throws(Malformed) -> Field? {
        guard offset < end else { return nil }
        let tag = try varint(bytes)
        let number = tag >> 3
        guard number > 0, number < 1 << 29 else { throw Malformed() }
        switch tag & 7 {
        case 0: return Field(number: number, value: .number(try varint(bytes)))
        case 1: return Field(number: number, value: .fixed(try skip(8)))
        case 5: return Field(number: number, value: .fixed(try skip(4)))
        case 2:
            let length = try varint(bytes)
            guard length <= UInt64(end - offset) else { throw Malformed() }
            return Field(number: number, value: .bytes(try skip(Int(length))))
        default: throw Malformed()
        }
    }

    private mutating func skip(_ count: Int) throws(Malformed) -> Range<Int> {
        guard end - offset >= count else { throw Malformed() }
        defer { offset += count }
        return offset..<offset + count
    }

    private mutating func varint(_ bytes: RawSpan) throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < end, shift < 70 {
            let byte = bytes[offset]
            offset += 1
            // Of the tenth byte only the lowest bit fits.
            guard shift < 63 || byte <= 1 else { throw Malformed() }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw Malformed()
    }
}
