package import Bytes

/// Where a sub-request goes: an endpoint of the pool or of the configuration, never one that a client names.
package struct SubRequestTarget: Sendable, Hashable, CustomStringConvertible {
    /// `host:port`, with brackets around an IPv6 address. What permits are counted by.
    package let authority: String

    /// - Parameter address: an IP address, an IPv6 one with or without brackets, or a name.
    package init(address: String, port: Int) {
        let isBare = address.utf8.contains(UInt8(ascii: ":")) && !address.utf8.starts(with: "[".utf8)
        authority = isBare ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    package var description: String { authority }

    /// Whether nothing but a host and a port is in it, so that no other host can be meant in an address that is built with it.
    var isValid: Bool {
        let bytes = authority.utf8
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")),
            let port = Int(authority[bytes.index(after: colon)...])
        else { return false }
        var host = authority[..<colon].utf8
        let isIPv6 = host.first == UInt8(ascii: "[") && host.last == UInt8(ascii: "]")
        if isIPv6 { host = host.dropFirst().dropLast() }
        return (1...65535).contains(port) && !host.isEmpty
            && host.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                case UInt8(ascii: ":"): isIPv6
                default: false
                }
            }
    }
}

/// One request to a model server on behalf of a client's.
package struct SubRequest: Sendable {
    package var target: SubRequestTarget
    package var method: String
    /// With the query; begins with a slash.
    package var path: String
    /// The client's fields that go along.
    package var forwarded: ForwardedHeaders
    /// Fields that take the place of the client's of those names.
    package var extraHeaders: [HTTPField] = []
    /// Shared with the other attempts, not copied.
    package var body: HTTPBody?
    /// The one `x-request-id`.
    package var requestID: String
    /// `x-processor-attempt`, from 1; nil sends none.
    package var attempt: Int?
    /// Takes the place of the client's `traceparent`. `tracestate` then goes along only within the same trace.
    package var traceparent: String?
    /// When all sub-requests of the client's request must have ended.
    package var deadline: MonotonicTime
    /// How long this one may take; for a streamed one, until the head of its response is there.
    package var timeout: Duration
    /// How long a streamed response may make no progress; nil: for ever.
    package var idleTimeout: Duration? = .seconds(60)
    /// The longest response; nil: as the settings say for one that is not streamed, and any for one that is.
    package var maxResponseBytes: Int?
    /// False for what the server must not see twice: as `HTTPRequest.maySendAgain`.
    package var maySendAgain = true
    /// True for what must not be refused for want of a permit. It is counted like the others.
    package var isUrgent = false
    /// True for a port that speaks plain http, whatever the settings say of the others.
    package var isPlain = false

    package init(
        to target: SubRequestTarget,
        method: String = "POST",
        path: String,
        forwarded: ForwardedHeaders = ForwardedHeaders(),
        body: HTTPBody? = nil,
        requestID: String,
        deadline: MonotonicTime,
        timeout: Duration
    ) {
        self.target = target
        self.method = method
        self.path = path
        self.forwarded = forwarded
        self.body = body
        self.requestID = requestID
        self.deadline = deadline
        self.timeout = timeout
    }
}

/// What holds for all sub-requests.
package struct SubRequesterSettings: Sendable, Equatable {
    /// Sub-requests under way at once, all together and to each endpoint.
    package var maxConcurrent = 1024
    package var maxPerEndpoint = 128
    /// The longest body of a success or of a 4xx.
    package var maxResponseBytes = 1 << 20
    /// What is kept of the body of any other answer.
    package var maxErrorBytes = 8 << 10
    /// All header lines of one sub-request together.
    package var maxHeaderBytes = 64 << 10
    package var connectTimeout = Duration.seconds(1)
    /// Whom to trust over https; nil: plain http.
    package var trust: TLSTrust?
    /// How deep sub-requests may be nested: a request that is itself this many away from a client's gets none. With 1, what is asked for by a
    /// sub-request asks for none in turn.
    package var maxDepth = 1
    /// Bytes kept of a streamed response for a reader that is behind.
    package var streamWindow = 256 << 10

    package init() {}
}
