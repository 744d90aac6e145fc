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
        for field in fields {
            builder.append(name: field.name.utf8Span.span.bytes, value: field.value.utf8Span.span.bytes)
        }
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

        package mutating func append(name: RawSpan, value: RawSpan) {
            if name.byteCount > 0, name[0] == UInt8(ascii: ":") { return }
            guard Self.isName(name), Self.isValue(value) else {
                headers.droppedCount += 1
                return
            }
            let lowercase = ASCII.lowercased(String(repairing: name))
            note(lowercase, value)
            guard !neverForwarded.contains(lowercase), !ownNames.contains(lowercase) else { return }
            headers.append(name, value)
        }

        private static func isName(_ bytes: RawSpan) -> Bool {
            for index in 0..<bytes.byteCount where !HTTPRequest.isTokenByte(bytes[index]) { return false }
            return bytes.byteCount > 0
        }

        /// Whether no control character is in it.
        private static func isValue(_ bytes: RawSpan) -> Bool {
            for index in 0..<bytes.byteCount {
                let byte = bytes[index]
                guard byte >= 0x20 && byte != 0x7F || byte == 0x09 else { return false }
            }
            return true
        }

        private mutating func note(_ name: String, _ value: RawSpan) {
            switch name {
            case "connection":
                for listed in String(repairing: value).split(separator: ",") {
                    connectionNames.insert(ASCII.lowercased(String(ASCII.trimmed(listed))))
                }
            case ForwardedHeaders.depthName:
                let text = ASCII.trimmed(Substring(String(repairing: value)))
                let isNumber = (1...3).contains(text.utf8.count) && text.utf8.allSatisfy(ASCII.isDigit)
                headers.depth = max(headers.depth, isNumber ? Int(text) ?? .max : .max)
            case "traceparent":
                headers.traceparent = String(repairing: value)
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

    private mutating func append(_ name: RawSpan, _ value: RawSpan) {
        let start = text.count
        name.withUnsafeBytes { text.append(contentsOf: $0) }
        let nameEnd = text.count
        if Self.isBlank(value) {
            text.append(UInt8(ascii: ";"))
        } else {
            text.append(UInt8(ascii: ":"))
            text.append(UInt8(ascii: " "))
            value.withUnsafeBytes { text.append(contentsOf: $0) }
        }
        lines.append(Line(start: start, nameEnd: nameEnd))
        text.append(0)
    }

    private static func isBlank(_ bytes: RawSpan) -> Bool {
        for index in 0..<bytes.byteCount where !ASCII.isWhitespace(bytes[index]) { return false }
        return true
    }
}
