/// One header as it came or as it goes out.
package struct HTTPHeader: Sendable, Equatable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    /// Whether the header has this name, letter case aside.
    package func isNamed(_ other: String) -> Bool {
        let ours = name.utf8
        let theirs = other.utf8
        return ours.count == theirs.count && zip(ours, theirs).allSatisfy { lowercased($0) == lowercased($1) }
    }
}

/// A whole request: `HTTPServer` calls its handler when the body has arrived.
package struct HTTPRequest: Sendable {
    package let method: String
    /// The path as the client wrote it, percent-encoding included, without the query.
    package let path: String
    /// What follows the first `?`, undecoded; empty when there is none.
    package let query: String
    /// In the order of the wire.
    package let headers: [HTTPHeader]
    package let body: [UInt8]
    /// Equal for requests that came over the same connection; unique in the process.
    package let connectionID: Int
    /// The connection's socket, for servers that misbehave on purpose; -1 when there is none. Theirs only until the request is answered:
    /// whoever needs it longer duplicates it.
    package let socket: Int32

    package init(
        method: String,
        path: String,
        query: String = "",
        headers: [HTTPHeader] = [],
        body: [UInt8] = [],
        connectionID: Int = 0,
        socket: Int32 = -1
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.connectionID = connectionID
        self.socket = socket
    }

    /// The first header of that name, letter case aside.
    package func header(_ name: String) -> String? {
        headers.first { $0.isNamed(name) }?.value
    }

    package var bodyText: String { String(decoding: body, as: UTF8.self) }
}

/// Status and headers of an answer whose body is streamed.
package struct HTTPResponseHead: Sendable {
    package var status: Int
    package var headers: [HTTPHeader]

    package init(status: Int = 200, headers: [HTTPHeader] = []) {
        self.status = status
        self.headers = headers
    }
}

/// A whole answer. `Content-Length`, `Date` and `Connection` are added by the server.
package struct HTTPResponse: Sendable {
    package var head: HTTPResponseHead
    package var body: [UInt8]

    package init(status: Int = 200, headers: [HTTPHeader] = [], body: [UInt8] = []) {
        head = HTTPResponseHead(status: status, headers: headers)
        self.body = body
    }

    /// An answer of text with its content type.
    package init(status: Int = 200, contentType: String, text: String, headers: [HTTPHeader] = []) {
        self.init(status: status, headers: [HTTPHeader("content-type", contentType)] + headers, body: Array(text.utf8))
    }
}

/// What a handler answers.
package enum HTTPReply: Sendable {
    case response(HTTPResponse)
    /// The head is sent at once, the body as it is written, in chunks.
    case stream(HTTPResponseHead, HTTPBodyStream)
    /// Somebody answers later; until then the connection costs no thread.
    case later(HTTPLaterReply)
    /// Closes the connection without an answer.
    case drop
}

/// Why a server could not start.
package enum HTTPServerError: Error, CustomStringConvertible {
    /// The bind address is no IPv4 or IPv6 address, or the port is not in 0...65535.
    case invalidAddress(String)
    case cannotListen(address: String, port: Int, reason: String)
    case cannotStartThread

    package var description: String {
        switch self {
        case .invalidAddress(let address): "\(address) is no address to listen on"
        case .cannotListen(let address, let port, let reason): "cannot listen on \(address):\(port): \(reason)"
        case .cannotStartThread: "cannot start the HTTP server's thread"
        }
    }
}

private func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}
