import Glibc

/// TCP on 127.0.0.1.
enum Loopback {
    /// A listening, nonblocking socket on a port that the system chose.
    static func listen() throws -> (socket: Int32, port: Int) {
        let socket = Glibc.socket(
            AF_INET,
            Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue),
            0
        )
        guard socket >= 0 else { throw BenchError("no socket: \(errorText())") }
        var address = make(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(socket, generic, length) == 0 && Glibc.listen(socket, 4096) == 0
                    && getsockname(socket, generic, &length) == 0
            }
        }
        guard isListening else {
            close(socket)
            throw BenchError("cannot listen: \(errorText())")
        }
        return (socket, Int(UInt16(bigEndian: address.sin_port)))
    }

    /// A connection, blocking or not once it is made, without Nagle's delay.
    static func connect(port: Int, isBlocking: Bool = false) throws -> Int32 {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw BenchError("no socket: \(errorText())") }
        var address = make(port: port)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else {
            let text = errorText()
            close(socket)
            throw BenchError("cannot connect to port \(port): \(text)")
        }
        sendAtOnce(socket)
        if !isBlocking { _ = fcntl(socket, F_SETFL, O_NONBLOCK) }
        return socket
    }

    /// Small writes go out as they are made.
    static func sendAtOnce(_ socket: Int32) {
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func make(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// The reply to one small request, for control and not for measuring: its status and its body.
    ///
    /// - Parameter seconds: how long it waits for more.
    static func exchange(
        port: Int,
        _ method: String,
        _ path: String,
        body: String = "",
        seconds: Int = 10
    ) throws -> (status: Int, body: String) {
        let socket = try connect(port: port, isBlocking: true)
        defer { close(socket) }
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        apus_bench.write(
            "\(method) \(path) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
                + "content-length: \(body.utf8.count)\r\n\r\n\(body)",
            to: socket
        )
        var reader = HTTPMessageReader(.reply)
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while !reader.isDone {
            let count = recv(socket, &chunk, chunk.count, 0)
            guard count > 0 else { throw BenchError("port \(port) does not answer \(path)") }
            received += chunk[..<count]
            _ = try chunk.withUnsafeBytes { try reader.read(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        let text = String(decoding: received, as: UTF8.self)
        // Good enough for control: chunks keep their frames.
        let body = text.firstRange(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
        return (reader.status, body)
    }

    /// Asks again until the status is 200; for programs that listen before they can answer, or not yet.
    static func awaitOK(port: Int, _ path: String, seconds: Double = 30) throws {
        let end = monotonicSeconds() + seconds
        var last = "nothing"
        while monotonicSeconds() < end {
            do {
                let reply = try exchange(port: port, "GET", path, seconds: 2)
                if reply.status == 200 { return }
                last = "\(reply.status) \(reply.body.prefix(200))"
            } catch {
                last = "\(error)"
            }
            usleep(50_000)
        }
        throw BenchError("port \(port) is not ready at \(path): \(last)")
    }

    /// A port that was free a moment ago, for programs that cannot choose one themselves.
    static func freePort() throws -> Int {
        let (socket, port) = try listen()
        close(socket)
        return port
    }
}
