/// Why there is no response.
package struct HTTPClientError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// The host answered that nobody listens there.
        case refused
        /// No way to the host.
        case unreachable
        /// The host's name is unknown.
        case unresolved
        /// The connection was not made in time.
        case connectTimeout
        /// The server's certificate leads to none of the trusted authorities, is another host's, or has expired. Nothing was sent.
        case untrusted
        /// The server speaks no TLS, none that we do, or will not have us. Nothing was sent.
        case handshake
        /// The files that `TLSTrust` names cannot be read or used.
        case badTrust
        /// The response did not end in time.
        case timeout
        /// The connection broke, or ended before the first byte of a response.
        case reset
        /// The connection ended within a response.
        case truncated
        /// The body is longer than the request takes.
        case tooLarge
        /// The bytes received are no HTTP response, or one with endless header fields.
        case badResponse
        /// The request itself must not be sent; nothing was.
        case badRequest
        /// Cancelled by the caller.
        case cancelled
        /// The client is shut down.
        case shutDown
        /// Out of memory or descriptors, or a fault within the client.
        case failed
    }

    package let code: Code
    package let message: String
    /// Whether at least one byte of a response had come.
    package let responseStarted: Bool

    package init(_ code: Code, _ message: String, responseStarted: Bool = false) {
        self.code = code
        self.message = message
        self.responseStarted = responseStarted
    }

    package var description: String { "\(code.rawValue): \(message)" }

    /// Whether no connection could be made: nobody is there, nobody answers, or not whom we trust.
    package var isConnectFailure: Bool {
        switch code {
        case .refused, .unreachable, .unresolved, .connectTimeout, .untrusted, .handshake: true
        default: false
        }
    }
}
