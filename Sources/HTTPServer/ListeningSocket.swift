private import Glibc

/// Binds and listens, so that the reason for a failure is known exactly and port 0 gives a port that can be told.
enum ListeningSocket {
    /// - Returns: the socket and the port it listens on.
    static func open(address: String, port: Int) throws(HTTPServerError) -> (descriptor: Int32, port: Int) {
        guard let port16 = UInt16(exactly: port) else { throw .invalidAddress("\(address):\(port)") }
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, address, &v4) == 1 {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port16.bigEndian
            name.sin_addr = v4
            return try open(family: AF_INET, name: name, address: address, port: port)
        }
        if inet_pton(AF_INET6, address, &v6) == 1 {
            var name = sockaddr_in6()
            name.sin6_family = sa_family_t(AF_INET6)
            name.sin6_port = port16.bigEndian
            name.sin6_addr = v6
            return try open(family: AF_INET6, name: name, address: address, port: port)
        }
        throw .invalidAddress(address)
    }

    private static func open<Name>(
        family: Int32,
        name: Name,
        address: String,
        port: Int
    ) throws(HTTPServerError) -> (descriptor: Int32, port: Int) {
        func failure() -> HTTPServerError {
            .cannotListen(address: address, port: port, reason: String(cString: strerror(errno)))
        }
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw failure() }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        if family == AF_INET6 {
            var off: Int32 = 0
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, socklen_t(MemoryLayout<Int32>.size))
        }
        var name = name
        var size = socklen_t(MemoryLayout<Name>.size)
        let bound = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        guard bound == 0, listen(descriptor, 1024) == 0 else {
            let error = failure()
            close(descriptor)
            throw error
        }
        var actual = sockaddr_in6()
        size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &actual) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        // The port lies at the same place in both families' addresses.
        return (descriptor, Int(UInt16(bigEndian: actual.sin6_port)))
    }
}
