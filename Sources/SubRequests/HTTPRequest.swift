package import Bytes

/// One header field.
package struct HTTPField: Sendable, Equatable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// The bytes a request sends. Copies share them, so that several attempts of one request hold one body.
package struct HTTPBody: Sendable {
    let pieces: PiecedBytes

    package init(_ bytes: [UInt8]) {
        pieces = PiecedBytes(bytes)
    }

    package init(_ pieces: PiecedBytes) {
        self.pieces = pieces
    }

    package var count: Int { pieces.count }
}

/// One request to a server named by the pool or the configuration, never by a client.
package struct HTTPRequest: Sendable {
    package var method: String
    /// An absolute `http://` or `https://` address. The latter needs `trust`.
    package var url: String
    /// `content-length`, `transfer-encoding` and `expect` are the client's own and refused here.
    package var headers: [HTTPField]
    /// Fields of a client's request that are sent besides; those that `headers` has, too, are not.
    package var forwarded: ForwardedHeaders?
    package var body: HTTPBody?
    /// To the end of the TCP and the TLS handshake, name resolution included.
    package var connectTimeout: Duration
    /// To the last byte of the response.
    package var timeout: Duration
    /// The largest response body taken; a longer one ends the request with `tooLarge`.
    package var maxResponseBytes: Int
    /// How much is taken of the body of a response that is neither a success nor a 4xx; a longer one is cut, and so is a 4xx's at `maxResponseBytes`
    /// (`HTTPResponseHead.isCut`). Nil: `maxResponseBytes` for all, and longer ones end the request.
    package var maxErrorBytes: Int?
    /// Whether the request may be sent once more when the kept connection it was sent on ends without a line of a response. The server may have
    /// seen it before it died, so this must be false for what must not happen twice; then such an end is a `reset`, unless no byte of the body had
    /// been sent. A request without a body, of which nobody can say how much was sent, is sent again in any case.
    package var maySendAgain: Bool
    /// Whether the response's header fields are wanted; collecting them costs an allocation each.
    package var wantsHeaders: Bool
    /// Whom to trust over `https://`.
    package var trust: TLSTrust?
    /// `host:port:host:port`: where the address names the former, the connection goes to the latter. What a certificate is compared with stays the
    /// address' host.
    package var connectTo: String?

    package init(
        method: String = "GET",
        url: String,
        headers: [HTTPField] = [],
        body: HTTPBody? = nil,
        connectTimeout: Duration = .seconds(1),
        timeout: Duration = .seconds(30),
        maxResponseBytes: Int = 1 << 20,
        wantsHeaders: Bool = true,
        trust: TLSTrust? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.connectTimeout = connectTimeout
        self.timeout = timeout
        self.maxResponseBytes = maxResponseBytes
        self.wantsHeaders = wantsHeaders
        maySendAgain = true
        self.trust = trust
    }

    /// Why the request must not be sent, or nil. What is checked here is what would let a value break out of its line.
    var problem: String? {
        if url.utf8.starts(with: "https://".utf8) {
            guard trust != nil else { return "nobody to trust for \(url)" }
        } else if !url.utf8.starts(with: "http://".utf8) {
            return "not an http:// or https:// address: \(url)"
        }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            return "control character or space in the address"
        }
        guard !method.isEmpty, method.utf8.allSatisfy(Self.isTokenByte) else { return "bad method" }
        for field in headers {
            guard !field.name.isEmpty, field.name.utf8.allSatisfy(Self.isTokenByte) else {
                return "bad header name: \(field.name)"
            }
            guard field.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                return "control character in header \(field.name)"
            }
            if Self.ownFields.contains(where: { ASCII.equalsIgnoringCase($0, field.name) }) {
                return "header \(field.name) is set by the client"
            }
        }
        return nil
    }

    private static let ownFields = ["content-length", "transfer-encoding", "expect", "connection"]

    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}

/// The status line and header fields of a response.
package struct HTTPResponseHead: Sendable {
    package var status: Int
    /// In the order received; empty unless the request wanted them.
    package var headers: [HTTPField]
    /// From the start of the request to the last byte of its response, or to the end of this head when the response is streamed; in seconds.
    package var seconds: Double
    /// Whether the body was longer than what was taken of it.
    package var isCut = false

    package init(status: Int, headers: [HTTPField], seconds: Double) {
        self.status = status
        self.headers = headers
        self.seconds = seconds
    }

    /// The value of the first field of that name, whatever its case.
    package subscript(_ name: String) -> String? {
        headers.first { ASCII.equalsIgnoringCase($0.name, name) }?.value
    }
}

/// A whole response.
package struct HTTPResponse: Sendable {
    package var head: HTTPResponseHead
    package var body: [UInt8]

    package init(head: HTTPResponseHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }

    package var status: Int { head.status }
}
