/// Writes protobuf fields one after the other. Field numbers below 16 only: one byte of tag.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    mutating func integer(_ field: UInt8, _ value: UInt64) {
        bytes.append(field << 3)
        varint(value)
    }

    mutating func string(_ field: UInt8, _ text: String) {
        data(field, Array(text.utf8))
    }

    mutating func data(_ field: UInt8, _ data: [UInt8]) {
        bytes.append(field << 3 | 2)
        varint(UInt64(data.count))
        bytes.append(contentsOf: data)
    }

    mutating func message(_ field: UInt8, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        data(field, inner.bytes)
    }

    private mutating func varint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    static func message(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
        var writer = ProtobufWriter()
        write(&writer)
        return writer.bytes
    }
}

/// Finds single fields of a protobuf message without decoding the rest.
struct ProtobufPeek {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// The number of the first field whose number is below `limit`, e.g. the member of a oneof.
    static func firstField(below limit: UInt64, in bytes: UnsafeRawBufferPointer) -> UInt64? {
        var peek = ProtobufPeek(bytes)
        while let field = peek.next() {
            if field.number < limit { return field.number }
        }
        return nil
    }

    /// Whether there is a field with this number.
    static func contains(_ number: UInt8, in bytes: UnsafeRawBufferPointer) -> Bool {
        var peek = ProtobufPeek(bytes)
        while let field = peek.next() {
            if field.number == UInt64(number) { return true }
        }
        return false
    }

    /// The varint at the end of a path of message fields; 0 when it is absent.
    static func integer(at path: [UInt64], in bytes: UnsafeRawBufferPointer) -> UInt64 {
        var peek = ProtobufPeek(bytes)
        while let field = peek.next() {
            guard field.number == path.first else { continue }
            if path.count == 1 { return field.value }
            guard let content = field.content else { return 0 }
            return integer(at: Array(path.dropFirst()), in: content)
        }
        return 0
    }

    /// The size of the bytes, string or message at the end of a path of message fields; 0 when it is absent.
    static func length(at path: [UInt64], in bytes: UnsafeRawBufferPointer) -> Int {
        var peek = ProtobufPeek(bytes)
        while let field = peek.next() {
            guard field.number == path.first, let content = field.content else { continue }
            return path.count == 1 ? content.count : length(at: Array(path.dropFirst()), in: content)
        }
        return 0
    }

    private mutating func next() -> (number: UInt64, value: UInt64, content: UnsafeRawBufferPointer?)? {
        guard position < bytes.count, let tag = varint() else { return nil }
        switch tag & 7 {
        case 0: return varint().map { (tag >> 3, $0, nil) }
        case 1: return skip(8) ? (tag >> 3, 0, nil) : nil
        case 5: return skip(4) ? (tag >> 3, 0, nil) : nil
        case 2:
            guard let length = varint(), length <= UInt64(bytes.count - position) else { return nil }
            let content = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + Int(length))])
            position += Int(length)
            return (tag >> 3, 0, content)
        default: return nil
        }
    }

    private mutating func skip(_ count: Int) -> Bool {
        position += count
        return position <= bytes.count
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }
}
