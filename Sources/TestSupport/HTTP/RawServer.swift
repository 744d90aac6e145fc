import Synchronization

/// A server for tests that need to see bytes: each connection is given to a closure, which answers as it likes. Ends when
/// the object is released.
package final class RawServer: Sendable {
    package let port: Int
    private let accepting: Task<Void, Never>

    package init(_ serve: @escaping @Sendable (RawConnection) async throws -> Void) throws {
        let listener = try Socket.listen()
        port = listener.port
        accepting = Task {
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled, let socket = try? await listener.accept() {
                    group.addTask {
                        let connection = RawConnection(socket)
                        // A connection that breaks is the test's business, which sees it at the other end.
                        try? await serve(connection)
                    }
                }
                group.cancelAll()
            }
        }
    }

    deinit { accepting.cancel() }
}

/// One connection of a `RawServer`.
package final class RawConnection {
    package let socket: Socket
    private var buffer: [UInt8] = []

    package init(_ socket: Socket) { self.socket = socket }

    /// The next request as it came: its head, and its body with whatever framing it has (chunk sizes, trailers). Nil when
    /// the peer has ended the connection.
    package func request() async throws -> (head: String, body: String)? {
        guard let head = try await text(endingIn: "\r\n\r\n") else { return nil }
        let lines = head.lowercased().split(separator: "\r\n")
        if lines.contains("transfer-encoding: chunked") {
            var body = ""
            while let size = try await text(endingIn: "\r\n") {
                body += size
                let count = Int(size.prefix { $0 != "\r\n" }, radix: 16) ?? 0
                if count == 0 { break }
                body += try await text(count: count + 2)
            }
            while let line = try await text(endingIn: "\r\n") {
                body += line
                if line == "\r\n" { break }
            }
            return (head, body)
        }
        let length = lines.first { $0.hasPrefix("content-length: ") }.flatMap { Int($0.dropFirst(16)) } ?? 0
        return (head, try await text(count: length))
    }

    package func write(_ text: String) async throws {
        try await socket.write(text.utf8)
    }

    /// A whole response with `content-length`.
    package func respond(_ status: String = "200 OK", headers: HTTPFields = [], body: String) async throws {
        let fields = headers.map { "\($0.name): \($0.value)\r\n" }.joined()
        try await write("HTTP/1.1 \(status)\r\n\(fields)content-length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    /// Returns when the peer has ended the connection or broken it off.
    package func waitForEnd() async {
        while let bytes = try? await socket.read(), !bytes.isEmpty {}
    }

    private func text(endingIn end: String) async throws -> String? {
        while true {
            if let range = buffer.firstRange(of: Array(end.utf8)) {
                defer { buffer.removeFirst(range.upperBound) }
                return String(decoding: buffer[..<range.upperBound], as: UTF8.self)
            }
            let bytes = try await socket.read()
            if bytes.isEmpty { return nil }
            buffer += bytes
        }
    }

    private func text(count: Int) async throws -> String {
        while buffer.count < count {
            let bytes = try await socket.read()
            if bytes.isEmpty { throw TestFailure("the connection ended in the middle of a request") }
            buffer += bytes
        }
        defer { buffer.removeFirst(count) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }
}
