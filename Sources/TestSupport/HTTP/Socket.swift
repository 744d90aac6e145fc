import Glibc

/// A non-blocking TCP socket on the loopback interface. Every wait ends at the deadline.
package final class Socket: Sendable {
    private let descriptor: Int32
    private let deadline: ContinuousClock.Instant

    private init(descriptor: Int32, deadline: ContinuousClock.Instant) {
        self.descriptor = descriptor
        self.deadline = deadline
    }

    deinit { close(descriptor) }

    /// Connects to `127.0.0.1:port`.
    package static func connect(port: Int, timeout: Duration = .seconds(60)) async throws -> Socket {
        let socket = try Socket.make(deadline: .now + timeout)
        var address = loopback(port: port)
        let result = withUnsafeAddress(&address) { Glibc.connect(socket.descriptor, $0, $1) }
        if result != 0 {
            guard errno == EINPROGRESS else { throw failure("connect to port \(port)") }
            try await SocketReactor.shared.wait(socket.descriptor, for: .writable, until: socket.deadline)
            var error: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
            if error != 0 { throw TestFailure("connect to port \(port): \(String(cString: strerror(error)))") }
        }
        return socket
    }

    /// Listens on a free port of `127.0.0.1`, or on `port`.
    package static func listen(port: Int = 0, timeout: Duration = .seconds(600)) throws -> Socket {
        let socket = try Socket.make(deadline: .now + timeout)
        var one: Int32 = 1
        setsockopt(socket.descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = loopback(port: port)
        guard withUnsafeAddress(&address, { bind(socket.descriptor, $0, $1) }) == 0,
            Glibc.listen(socket.descriptor, 1024) == 0
        else { throw failure("listen on port \(port)") }
        return socket
    }

    /// Holds a free port of `127.0.0.1` without listening: connections to it are refused, and nobody else gets it.
    package static func refusing() throws -> Socket {
        let socket = try Socket.make(deadline: .now + .seconds(600))
        var address = loopback(port: 0)
        guard withUnsafeAddress(&address, { bind(socket.descriptor, $0, $1) }) == 0 else { throw failure("bind") }
        return socket
    }

    /// The local port.
    package var port: Int {
        var address = sockaddr_in()
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                var size = socklen_t(MemoryLayout<sockaddr_in>.size)
                getsockname(descriptor, pointer, &size)
            }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// The next connection to a listening socket.
    package func accept(timeout: Duration = .seconds(60)) async throws -> Socket {
        while true {
            let accepted = Glibc.accept(descriptor, nil, nil)
            if accepted >= 0 {
                let socket = Socket(descriptor: accepted, deadline: .now + timeout)
                socket.configure()
                return socket
            }
            guard errno == EAGAIN || errno == EINTR || errno == ECONNABORTED else { throw Self.failure("accept") }
            try await SocketReactor.shared.wait(descriptor, for: .readable, until: deadline)
        }
    }

    /// Sends all of `bytes`.
    package func write(_ bytes: some Sequence<UInt8>) async throws {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if sent >= 0 {
                rest.removeFirst(sent)
            } else if errno == EAGAIN {
                try await SocketReactor.shared.wait(descriptor, for: .writable, until: deadline)
            } else if errno != EINTR {
                throw Self.failure("send")
            }
        }
    }

    /// What has arrived, at most 64 KiB of it; empty when the peer has ended its side.
    package func read() async throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count >= 0 { return Array(buffer[..<count]) }
            if errno == EAGAIN {
                try await SocketReactor.shared.wait(descriptor, for: .readable, until: deadline)
            } else if errno != EINTR {
                throw Self.failure("receive")
            }
        }
    }

    /// Ends both directions at once, as a client that hangs up: whoever waits on this socket goes on with an end or an
    /// error.
    package func hangUp() {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Ends the sending direction.
    package func finishWriting() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    private static func make(deadline: ContinuousClock.Instant) throws -> Socket {
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw failure("socket") }
        let socket = Socket(descriptor: descriptor, deadline: deadline)
        socket.configure()
        return socket
    }

    private func configure() {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func loopback(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    private static func withUnsafeAddress(
        _ address: inout sockaddr_in,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    private static func failure(_ what: String) -> TestFailure {
        TestFailure("\(what): \(String(cString: strerror(errno)))")
    }
}
