/// An HTTP/1.1 client for tests: it sends exactly what it is told, shows a response as it arrives, and can hang up in the
/// middle. Every request has a connection of its own.
package struct HTTPTestClient: Sendable {
    package let port: Int
    /// A request that takes longer fails.
    package let timeout: Duration

    /// A client of `127.0.0.1:port`.
    package init(port: Int, timeout: Duration = .seconds(60)) {
        self.port = port
        self.timeout = timeout
    }

    /// Sends a request and reads the whole response.
    package func send(_ request: TestRequest) async throws -> TestResponse {
        let exchange = try await open(request)
        return TestResponse(
            status: exchange.status,
            headers: exchange.headers,
            body: try await exchange.rest(),
            trailers: exchange.trailers
        )
    }

    package func get(_ path: String) async throws -> TestResponse {
        try await send(TestRequest("GET", path))
    }

    /// Sends a request and reads the response up to its headers. The body goes out meanwhile, also while the response
    /// comes in.
    package func open(_ request: TestRequest) async throws -> TestExchange {
        let socket = try await Socket.connect(port: port, timeout: timeout)
        try await socket.write(request.head(port: port))
        let sending = Task {
            // A server may answer and close before it has the whole body: then the response tells what happened.
            for piece in request.pieces { try? await socket.write(piece) }
        }
        let exchange = TestExchange(socket, sending, isHead: request.method == "HEAD")
        try await exchange.readHead()
        return exchange
    }
}

/// One response on its way in. Used by one task at a time.
package final class TestExchange {
    private enum Framing {
        case none
        case length(Int)
        case chunk(left: Int)
        case betweenChunks
        case untilClose
        case done
    }

    package private(set) var status = 0
    package private(set) var headers: HTTPFields = []
    /// Filled in when the body has ended.
    package private(set) var trailers: HTTPFields = []

    private let socket: Socket
    private let sending: Task<Void, Never>
    private let isHead: Bool
    private var framing = Framing.none
    private var buffer: [UInt8] = []
    private var pendingEvents: [UInt8] = []

    init(_ socket: Socket, _ sending: Task<Void, Never>, isHead: Bool) {
        self.socket = socket
        self.sending = sending
        self.isHead = isHead
    }

    deinit { sending.cancel() }

    /// Closes the connection, whatever is still to come.
    package func hangUp() {
        sending.cancel()
        socket.hangUp()
    }

    /// The next bytes of the body as they arrive, at most one chunk at a time; nil at its end. Fails when the connection
    /// ends before the body does.
    package func next() async throws -> [UInt8]? {
        while true {
            switch framing {
            case .none, .done: return nil
            case .length(0): framing = .done
            case .length(let left):
                let part = try await take(atMost: left)
                framing = .length(left - part.count)
                return part
            case .chunk(left: 0):
                _ = try await line()
                framing = .betweenChunks
            case .chunk(let left):
                let part = try await take(atMost: left)
                framing = .chunk(left: left - part.count)
                return part
            case .betweenChunks:
                let size = try await line()
                guard let size = Int(size.prefix { $0 != ";" }, radix: 16), size >= 0 else {
                    throw TestFailure("\"\(size)\" is not the size of a chunk")
                }
                if size > 0 {
                    framing = .chunk(left: size)
                } else {
                    trailers = try await fields()
                    framing = .done
                }
            case .untilClose:
                if !buffer.isEmpty { return try await take(atMost: .max) }
                let bytes = try await socket.read()
                if !bytes.isEmpty { return bytes }
                framing = .done
            }
        }
    }

    /// What is left of the body.
    package func rest() async throws -> [UInt8] {
        var body: [UInt8] = []
        while let part = try await next() { body += part }
        return body
    }

    /// The next server-sent event, without the blank line that ends it; nil at the end of the body.
    package func nextEvent() async throws -> String? {
        while true {
            if let end = pendingEvents.firstRange(of: [10, 10]) {
                defer { pendingEvents.removeFirst(end.upperBound) }
                return String(decoding: pendingEvents[..<end.lowerBound], as: UTF8.self)
            }
            guard let part = try await next() else {
                defer { pendingEvents = [] }
                return pendingEvents.isEmpty ? nil : String(decoding: pendingEvents, as: UTF8.self)
            }
            pendingEvents += part
        }
    }

    func readHead() async throws {
        repeat {
            let words = try await line().split(separator: " ", maxSplits: 2)
            guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
                throw TestFailure("the response begins with \"\(words.joined(separator: " "))\"")
            }
            self.status = status
            headers = try await fields()
        } while status < 200
        if isHead || status == 204 || status == 304 {
            framing = .none
        } else if headers.first("transfer-encoding")?.lowercased() == "chunked" {
            framing = .betweenChunks
        } else if let length = headers.first("content-length").flatMap({ Int($0) }) {
            framing = .length(length)
        } else {
            framing = .untilClose
        }
    }

    private func fields() async throws -> HTTPFields {
        var fields: HTTPFields = []
        while true {
            let line = try await line()
            if line.isEmpty { return fields }
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw TestFailure("\"\(line)\" is not a header") }
            fields.append((String(parts[0]), parts[1].trimmingPrefix { $0 == " " }.description))
        }
    }

    private func line() async throws -> String {
        while true {
            if let end = buffer.firstRange(of: [13, 10]) {
                defer { buffer.removeFirst(end.upperBound) }
                return String(decoding: buffer[..<end.lowerBound], as: UTF8.self)
            }
            try await receive()
        }
    }

    private func take(atMost count: Int) async throws -> [UInt8] {
        if buffer.isEmpty { try await receive() }
        let part = Array(buffer.prefix(count))
        buffer.removeFirst(part.count)
        return part
    }

    private func receive() async throws {
        let bytes = try await socket.read()
        if bytes.isEmpty { throw TestFailure("the connection ended in the middle of the response") }
        buffer += bytes
    }
}
