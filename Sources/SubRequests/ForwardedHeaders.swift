internal import Bytes

/// The header fields of a client's request that go along with the sub-requests made for it, in their order and byte for byte. Read and sifted once,
/// then shared by all of them.
///
/// Left out: what belongs to one connection (RFC 9110 §7.6.1, and what `connection` lists), pseudo-header fields, what this client sets itself or
/// depends on the body it sends (`host`, `content-length`, `expect`), `accept-encoding`, since answers are read and not unpacked,
/// `x-request-id`, `x-processor-attempt`, `x-apus-depth` and the picker's own. A value may hold any byte but control characters; a field with one,
/// or with a name that is none, is left out, too: it would be a reason for a server to refuse the whole request.
package struct ForwardedHeaders: Sendable {
    struct Line: Sendable {
        var start: Int
        var nameEnd: Int
    }

    /// `name: value` or, without a value, `name;`, as libcurl takes them, each with a zero byte behind.
    private(set) var text: [UInt8] = []
    private(set) var lines: [Line] = []
    /// How many fields were left out because they are malformed.
    package private(set) var droppedCount = 0
    /// How many sub-requests the request itself is away from the client's: 0 without `x-apus-depth`, `.max` when that is no small number.
    package private(set) var depth = 0
    /// The client's `traceparent`.
    package private(set) var traceparent: String?

    package init() {}

    /// - Parameter ownNames: more names to leave out, in lower case.
    package init(_ fields: [HTTPField], ownNames: Set<String> = []) {
        var builder = Builder(ownNames: ownNames)
        for field in fields { builder.append(name: field.name.utf8, value: field.value.utf8) }
        self = builder.finish()
    }

    /// The bytes of all lines with their ends.
    package var byteCount: Int { text.count + lines.count }

    /// Lower-case name of the field that counts how deep sub-requests are nested.
    package static let depthName = "x-apus-depth"
    package static let requestIDName = "x-request-id"
    package static let attemptName = "x-processor-attempt"

    private static let neverForwarded: Set<String> = [
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "proxy-authorization", "proxy-authenticate", "http2-settings",
        "host", "content-length", "expect", "accept-encoding",
        requestIDName, attemptName, depthName,
    ]

    /// The names that the picker's users must know are not forwarded, beside their own.
    package static func isForwarded(_ lowercaseName: String) -> Bool {
        !neverForwarded.contains(lowercaseName) && !lowercaseName.utf8.starts(with: ":".utf8)
    }

    /// Whether a field of that name is among them.
    func contains(_ name: String) -> Bool {
        lines.contains { isNamed($0, name) }
    }

    func isNamed(_ line: Line, _ name: String) -> Bool {
        let bytes = text[line.start..<line.nameEnd]
        return bytes.count == name.utf8.count
            && zip(bytes, name.utf8).allSatisfy { ASCII.lowercased($0) == ASCII.lowercased($1) }
    }

    /// Takes the fields of that name out.
    package mutating func remove(_ name: String) {
        lines = lines.filter { !isNamed($0, name) }
    }

    /// Collects the fields of one request.
    package struct Builder {
        private let ownNames: Set<String>
        private var headers = ForwardedHeaders()
        /// What `connection` lists, in lower case.
        private var connectionNames: Set<String> = []

        /// - Parameter ownNames: more names to leave out, in lower case.
        package init(ownNames: Set<String> = []) {
            self.ownNames = ownNames
        }

        package mutating func append(name: some Collection<UInt8>, value: some Collection<UInt8>) {
            if name.first == UInt8(ascii: ":") { return }
            let isClean = value.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
            guard isClean, !name.isEmpty, name.allSatisfy(HTTPRequest.isTokenByte) else {
                headers.droppedCount += 1
                return
            }
            let lowercase = String(decoding: name.map(ASCII.lowercased), as: UTF8.self)
            note(lowercase, value)
            guard !neverForwarded.contains(lowercase), !ownNames.contains(lowercase) else { return }
            headers.append(name, value)
        }

        private mutating func note(_ name: String, _ value: some Collection<UInt8>) {
            switch name {
            case "connection":
                for part in value.split(separator: UInt8(ascii: ",")) {
                    let listed = Substring(decoding: part, as: UTF8.self)
                    connectionNames.insert(ASCII.lowercased(String(ASCII.trimmed(listed))))
                }
            case ForwardedHeaders.depthName:
                let text = ASCII.trimmed(Substring(decoding: value, as: UTF8.self))
                let isNumber = (1...3).contains(text.utf8.count) && text.utf8.allSatisfy(ASCII.isDigit)
                headers.depth = max(headers.depth, isNumber ? Int(text) ?? .max : .max)
            case "traceparent":
                headers.traceparent = String(decoding: value, as: UTF8.self)
            default: break
            }
        }

        package consuming func finish() -> ForwardedHeaders {
            if !connectionNames.isEmpty {
                let text = headers.text
                headers.lines.removeAll { line in
                    let name = text[line.start..<line.nameEnd].map(ASCII.lowercased)
                    return connectionNames.contains(String(decoding: name, as: UTF8.self))
                }
                if connectionNames.contains("traceparent") { headers.traceparent = nil }
            }
            return headers
        }
    }

    private mutating func append(_ name: some Collection<UInt8>, _ value: some Collection<UInt8>) {
        let start = text.count
        text.append(contentsOf: name)
        let nameEnd = text.count
        if value.allSatisfy(ASCII.isWhitespace) {
            text.append(UInt8(ascii: ";"))
        } else {
            text.append(contentsOf: ": ".utf8)
            text.append(contentsOf: value)
        }
        lines.append(Line(start: start, nameEnd: nameEnd))
        text.append(0)
    }
}
