private import Bytes
private import Glibc

/// An HTTP server of raw sockets on 127.0.0.1, one thread per connection, that can misbehave in every way a script asks for.
package final class FakeHTTPServer: Sendable {
    package struct Request: Sendable {
        package let method: String
        package let path: String
        /// Lower-case names; of repeated ones the last.
        package let headers: [String: String]
        /// The header lines as they came, without their ends.
        package let lines: [[UInt8]]
        package let body: [UInt8]
        /// Counts accepted connections from 1.
        package let connection: Int
    }

    package enum Reply: Sendable {
        /// A whole response; the connection stays open.
        case response(status: Int = 200, headers: [String] = [], body: [UInt8])
        /// These bytes as they are, then the end of the connection if `closes`.
        case raw([UInt8], closes: Bool)
        /// These bytes again and again, until the peer has enough.
        case endless(head: [UInt8], repeated: [UInt8])
        /// A response byte by byte, with a pause of so many milliseconds between two.
        case slow(body: [UInt8], milliseconds: Int)
        /// Nothing; the connection stays until the peer closes it.
        case hang
        /// The connection ends without an answer.
        case close
        /// The same with a TCP reset, after these bytes.
        case reset(after: [UInt8])

        package static func text(_ text: String, status: Int = 200) -> Reply {
            .response(status: status, body: Array(text.utf8))
        }
    }

    package enum Event: Sendable, Equatable {
        case accepted(connection: Int)
        case request(connection: Int, path: String)
        case replied(connection: Int)
        /// The peer closed the connection, or broke it.
        case disconnected(connection: Int)
    }

    private struct State {
        var connections: Set<Int32> = []
        var accepted = 0
        var isStopped = false
    }

    package let port: Int
    package let events = EventLog<Event>()
    private let listener: Int32
    private let state = Lock(State())
    private let reply: @Sendable (Request) -> Reply
    private let tls: ServerTLS?

    /// - Parameter isListening: false keeps a free port that refuses connections until `listen()`.
    package init(
        isListening: Bool = true,
        tls: ServerTLS? = nil,
        _ reply: @escaping @Sendable (Request) -> Reply
    ) throws {
        self.reply = reply
        self.tls = tls
        (listener, port) = try Self.bind()
        if isListening { try listen() }
    }

    deinit {
        stop()
        close(listener)
    }

    /// Accepts connections from now on.
    package func listen() throws {
        guard Glibc.listen(listener, 512) == 0 else { throw SystemError(call: "listen", number: errno) }
        // The server lives as long as the test that made it; its threads hold it only while they serve.
        let listener = dup(listener)
        spawn { [weak self] in
            while true {
                let socket = accept(listener, nil, nil)
                guard socket >= 0 else { break }
                guard let server = self, let connection = server.admit(socket) else {
                    close(socket)
                    break
                }
                spawn { [weak server] in server?.serve(socket, connection) }
            }
            close(listener)
        }
    }

    package var address: String { "127.0.0.1:\(port)" }
    package var connectionCount: Int { state.withLock { $0.accepted } }

    package func url(_ path: String = "/") -> String { "\(tls == nil ? "http" : "https")://\(address)\(path)" }

    /// Refuses new connections and ends the open ones.
    package func stop() {
        state.withLock { state in
            guard !state.isStopped else { return }
            state.isStopped = true
            shutdown(listener, Int32(SHUT_RDWR))
            for socket in state.connections { shutdown(socket, Int32(SHUT_RDWR)) }
        }
    }

    // MARK: Connections

    private func admit(_ socket: Int32) -> Int? {
        let connection: Int? = state.withLock { state in
            guard !state.isStopped else { return nil }
            state.accepted += 1
            state.connections.insert(socket)
            return state.accepted
        }
        if let connection { events.append(.accepted(connection: connection)) }
        return connection
    }

    private func serve(_ socket: Int32, _ connection: Int) {
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        // OpenSSL writes without `MSG_NOSIGNAL`.
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, nil)
        let channel = if let tls { tls.accept(socket) } else { ServerChannel(socket) }
        if let channel { converse(channel, connection) }
        state.withLock { state in
            state.connections.remove(socket)
            close(socket)
        }
        events.append(.disconnected(connection: connection))
    }

    private func converse(_ channel: ServerChannel, _ connection: Int) {
        var buffer: [UInt8] = []
        while let request = readRequest(channel, connection, &buffer) {
            events.append(.request(connection: connection, path: request.path))
            let stays = answer(channel, reply(request))
            events.append(.replied(connection: connection))
            guard stays else { break }
        }
    }

    /// Whether the connection stays open.
    private func answer(_ channel: ServerChannel, _ reply: Reply) -> Bool {
        switch reply {
        case .response(let status, let headers, let body):
            return channel.write(Self.head(status, headers, body.count) + body)
        case .raw(let bytes, let closes):
            return channel.write(bytes) && !closes
        case .endless(let head, let repeated):
            guard channel.write(head) else { return false }
            while channel.write(repeated) {}
            return false
        case .slow(let body, let milliseconds):
            guard channel.write(Self.head(200, [], body.count)) else { return false }
            for byte in body {
                usleep(useconds_t(milliseconds * 1000))
                guard channel.write([byte]) else { return false }
            }
            return true
        case .hang:
            var byte: [UInt8] = [0]
            while channel.read(&byte) > 0 {}
            return false
        case .close:
            return false
        case .reset(let bytes):
            _ = channel.write(bytes)
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(channel.socket, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
            return false
        }
    }

    private static func head(_ status: Int, _ headers: [String], _ length: Int) -> [UInt8] {
        let lines = ["HTTP/1.1 \(status) Status", "Content-Length: \(length)"] + headers
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    // MARK: Requests

    private func readRequest(_ channel: ServerChannel, _ connection: Int, _ buffer: inout [UInt8]) -> Request? {
        while true {
            if let request = Self.takeRequest(&buffer, connection) { return request }
            var chunk = [UInt8](repeating: 0, count: 16384)
            let count = channel.read(&chunk)
            guard count > 0 else { return nil }
            buffer += chunk[..<count]
        }
    }

    private static func takeRequest(_ buffer: inout [UInt8], _ connection: Int) -> Request? {
        guard let end = buffer.indices.first(where: { buffer[$0...].starts(with: [13, 10, 13, 10]) }) else {
            return nil
        }
        let head = buffer[..<end]
        let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            headers[ASCII.lowercased(String(parts[0]))] = String(ASCII.trimmed(parts[1]))
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        guard buffer.count >= end + 4 + length else { return nil }
        let words = (lines.first ?? "").split(separator: " ")
        let request = Request(
            method: words.first.map(String.init) ?? "",
            path: words.dropFirst().first.map(String.init) ?? "",
            headers: headers,
            lines: head.split(separator: 10).dropFirst().map { Array($0.last == 13 ? $0.dropLast() : $0) },
            body: Array(buffer[(end + 4)..<(end + 4 + length)]),
            connection: connection
        )
        buffer.removeFirst(end + 4 + length)
        return request
    }

    // MARK: Sockets

    package struct SystemError: Error {
        package let call: String
        package let number: Int32
    }

    private static func bind() throws -> (Int32, Int) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard listener >= 0 else { throw SystemError(call: "socket", number: errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                let code = Glibc.bind(listener, pointer, length)
                return code == 0 ? getsockname(listener, pointer, &length) : code
            }
        }
        guard code == 0 else {
            let number = errno
            close(listener)
            throw SystemError(call: "bind", number: number)
        }
        return (listener, Int(in_port_t(bigEndian: address.sin_port)))
    }
}

private final class Work: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}

private func spawn(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let work = Unmanaged.passRetained(Work(body))
    let code = pthread_create(
        &thread,
        nil,
        { context in
            if let context { Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        },
        work.toOpaque()
    )
    if code == 0 { pthread_detach(thread) } else { work.release() }
}
