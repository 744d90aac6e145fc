/// The messages of `grpc.health.v1`, by hand: three of them with one field each.
enum HealthMessages {
    /// Longer service names are refused: a watcher's name is kept as long as it watches.
    static let longestServiceName = 1024

    // MARK: HealthCheckRequest { string service = 1; }

    /// The service's name, empty when absent; the last one counts when there are several. Nil for bytes that are not
    /// such a message, or whose name is too long or not UTF-8.
    static func decodeRequest(_ bytes: RawSpan) -> String? {
        var reader = FieldReader(bytes)
        var service: Range<Int> = 0..<0
        while !reader.isAtEnd {
            guard let tag = reader.readVarint(), tag >> 3 != 0, tag >> 3 < 1 << 29 else { return nil }
            switch (tag >> 3, tag & 7) {
            case (1, 2):
                guard let range = reader.readLengthDelimited() else { return nil }
                service = range
            case (1, _):
                return nil
            case (_, let wireType):
                guard reader.skip(wireType) else { return nil }
            }
        }
        guard service.count <= longestServiceName else { return nil }
        return bytes.extracting(service).withUnsafeBytes { String(validating: $0, as: UTF8.self) }
    }

    // MARK: HealthCheckResponse { ServingStatus status = 1; }

    /// Proto3 omits a value of 0, so UNKNOWN is no bytes at all.
    static func encodeResponse(_ status: HealthService.ServingStatus) -> [UInt8] {
        status == .unknown ? [] : [0x08, status.rawValue]
    }

    // MARK: HealthListResponse { map<string, HealthCheckResponse> statuses = 1; }

    static func encodeList(_ statuses: [(service: String, status: HealthService.ServingStatus)]) -> [UInt8] {
        var list: [UInt8] = []
        for (service, status) in statuses {
            var entry: [UInt8] = []
            entry.appendField(1, Array(service.utf8))
            entry.appendField(2, encodeResponse(status))
            list.appendField(1, entry)
        }
        return list
    }
}

/// Reads the fields of a protobuf message; every step checks what is left.
private struct FieldReader: ~Escapable {
    private let bytes: RawSpan
    private var position = 0

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.byteCount }

    @_lifetime(self: copy self)
    mutating func readVarint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 70, by: 7) {
            guard position < bytes.byteCount else { return nil }
            let byte = bytes.unsafeLoad(fromByteOffset: position, as: UInt8.self)
            position += 1
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }

    @_lifetime(self: copy self)
    mutating func readLengthDelimited() -> Range<Int>? {
        guard let length = readVarint(), length <= UInt64(bytes.byteCount - position) else { return nil }
        let start = position
        position += Int(length)
        return start..<position
    }

    @_lifetime(self: copy self)
    mutating func skip(_ wireType: UInt64) -> Bool {
        switch wireType {
        case 0: readVarint() != nil
        case 1: advance(8)
        case 2: readLengthDelimited() != nil
        case 5: advance(4)
        default: false
        }
    }

    @_lifetime(self: copy self)
    private mutating func advance(_ count: Int) -> Bool {
        guard bytes.byteCount - position >= count else { return false }
        position += count
        return true
    }
}

extension [UInt8] {
    fileprivate mutating func appendField(_ number: UInt8, _ bytes: [UInt8]) {
        append(number << 3 | 2)
        var length = bytes.count
        while length >= 0x80 {
            append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        append(UInt8(length))
        append(contentsOf: bytes)
    }
}
