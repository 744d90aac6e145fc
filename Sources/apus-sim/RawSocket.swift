import Glibc

/// A connection whose bytes are written past the HTTP server, so that they can be wrong. Only for a thread that may block.
final class RawSocket: Sendable {
    private let descriptor: Int32

    /// Shares a socket; nil when there is none.
    init?(sharing socket: Int32) {
        guard socket >= 0 else { return nil }
        descriptor = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else { return nil }
    }

    deinit {
        close(descriptor)
    }

    /// Writes all of it.
    ///
    /// - Returns: false when the client has gone.
    func write(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if count < 0, errno == EAGAIN || errno == EINTR {
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&wait, 1, 60_000)
            } else {
                return false
            }
        }
        return true
    }

    /// Ends the connection with a TCP reset; what was received is still read by the peer.
    func reset() {
        var nowhere = sockaddr()
        nowhere.sa_family = sa_family_t(AF_UNSPEC)
        connect(descriptor, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
    }
}
