/// What is asked of the DNS, by its number there.
enum DNSType: UInt16, Sendable {
    case a = 1
    case aaaa = 28
    case srv = 33
}

/// A resource record, as far as it matters here.
enum DNSRecord: Sendable, Equatable {
    /// An address in text form.
    case address(String)
    case service(priority: Int, port: Int, target: String)
}

/// An answer of a DNS server.
struct DNSAnswer: Sendable, Equatable {
    enum Outcome: Sendable, Equatable {
        /// Also when there are no records of the kind.
        case known
        /// The name does not exist.
        case unknownName
        /// The server could not say; its code is that of RFC 1035.
        case failed(Int)
    }

    var outcome: Outcome
    /// The rest did not fit.
    var isCut: Bool
    /// Of the type that was asked for.
    var records: [DNSRecord]
    /// Addresses that came along, by name in lower case.
    var additional: [String: [String]]
}

/// Reads and writes the messages of RFC 1035.
enum DNSMessage {
    struct Malformed: Error {}

    /// Larger answers come cut, and then again over TCP.
    static let maxUDPBytes = 1232

    /// Nil when the name is none: empty, or with labels that are empty or longer than 63 bytes.
    static func query(_ name: String, _ type: DNSType, id: UInt16) -> [UInt8]? {
        let labels = (name.hasSuffix(".") ? name.dropLast() : name[...]).utf8
            .split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard labels.allSatisfy({ (1...63).contains($0.count) }), name.utf8.count <= 254 else { return nil }
        // Recursion desired; one question, one additional record, which says how long an answer may be.
        var bytes: [UInt8] = big(id) + [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
        for label in labels { bytes += [UInt8(label.count)] + label }
        bytes += [0] + big(type.rawValue) + [0, 1]
        bytes += [0, 0, 41] + big(UInt16(maxUDPBytes)) + [0, 0, 0, 0, 0, 0]
        return bytes
    }

    /// Reads the answer to a question; nil when it is the answer to another one.
    static func answer(_ bytes: [UInt8], to name: String, _ type: DNSType, id: UInt16) throws(Malformed) -> DNSAnswer? {
        var reader = Reader(bytes: bytes)
        let (answerID, flags) = (try reader.short(), try reader.short())
        guard answerID == id, flags & 0x8000 != 0 else { return nil }
        let counts = (try reader.short(), try reader.short(), try reader.short(), try reader.short())
        guard counts.0 == 1, same(try reader.name(), name), try reader.short() == type.rawValue else { return nil }
        _ = try reader.short()
        let outcome: DNSAnswer.Outcome =
            switch flags & 15 {
            case 0: .known
            case 3: .unknownName
            default: .failed(Int(flags & 15))
            }
        var answer = DNSAnswer(outcome: outcome, isCut: flags & 0x0200 != 0, records: [], additional: [:])
        // What is cut off is asked for again, so that its end need not be read.
        if answer.isCut { return answer }
        for _ in 0..<counts.1 {
            let record = try reader.record()
            if record.type == type.rawValue, let value = record.value { answer.records.append(value) }
        }
        for _ in 0..<Int(counts.2) + Int(counts.3) {
            let record = try reader.record()
            if case .address(let address)? = record.value {
                answer.additional[record.name, default: []].append(address)
            }
        }
        return answer
    }

    private static func same(_ left: String, _ right: String) -> Bool {
        left == (right.hasSuffix(".") ? String(right.dropLast()) : right).lowercased()
    }

    private static func big(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 255)] }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        mutating func byte() throws(Malformed) -> UInt8 {
            guard offset < bytes.count else { throw Malformed() }
            defer { offset += 1 }
            return bytes[offset]
        }

        mutating func short() throws(Malformed) -> UInt16 {
            UInt16(try byte()) << 8 | UInt16(try byte())
        }

        /// A name in lower case, without the dot at its end.
        mutating func name() throws(Malformed) -> String {
            var labels: [String] = []
            var length = 0
            // Where reading goes on behind a name whose rest is elsewhere.
            var behind: Int?
            while true {
                let first = try byte()
                if first & 0xC0 == 0xC0 {
                    let target = Int(first & 0x3F) << 8 | Int(try byte())
                    // Only backwards; and what goes round ends at the longest name.
                    guard target < offset - 2 else { throw Malformed() }
                    behind = behind ?? offset
                    offset = target
                    length += 1
                } else if first == 0 {
                    break
                } else {
                    guard first < 64, offset + Int(first) <= bytes.count else { throw Malformed() }
                    labels.append(String(decoding: bytes[offset..<offset + Int(first)], as: UTF8.self).lowercased())
                    offset += Int(first)
                    length += Int(first) + 1
                }
                guard length <= 255 else { throw Malformed() }
            }
            if let behind { offset = behind }
            return labels.joined(separator: ".")
        }

        mutating func record() throws(Malformed) -> (name: String, type: UInt16, value: DNSRecord?) {
            let name = try name()
            let type = try short()
            let isInternet = try short() == 1
            // Its time to live: what is known is asked for anew in any case.
            _ = (try short(), try short())
            let length = Int(try short())
            let end = offset + length
            guard end <= bytes.count else { throw Malformed() }
            defer { offset = end }
            guard isInternet else { return (name, type, nil) }
            switch DNSType(rawValue: type) {
            case .a where length == 4:
                return (name, type, .address(bytes[offset..<end].map(String.init).joined(separator: ".")))
            case .aaaa where length == 16:
                return (name, type, .address(EndpointAddress.text(ofIPv6: Array(bytes[offset..<end]))))
            case .srv where length > 6:
                let priority = Int(try short())
                _ = try short()
                let port = Int(try short())
                return (name, type, .service(priority: priority, port: port, target: try self.name()))
            default:
                return (name, type, nil)
            }
        }
    }
}
