import Bytes
import Glibc

/// How engines talk about KV: short JSON messages, `POST /sim/kv/…` at the address that hand-off parameters name. Servers of this process
/// call each other directly, others over HTTP.
enum SideChannel {
    struct Address: Sendable, Hashable, CustomStringConvertible {
        let host: String
        let port: Int

        init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        /// `host:port`, with or without a scheme before it.
        init?(_ text: String) {
            var text = Substring(text)
            if let scheme = text.firstRange(of: "://") { text = text[scheme.upperBound...] }
            text = text.prefix { $0 != "/" }
            guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else {
                return nil
            }
            host = String(text[..<colon])
            self.port = port
        }

        var description: String { "\(host):\(port)" }
    }

    enum Message: String, Sendable {
        /// A decode wants what a lease holds.
        case claim
        /// A decode still waits with its claim.
        case heartbeat
        /// A decode has read the blocks, or gives them up.
        case done
        /// A decode waits for the prefill of a name.
        case join
        /// It does no longer.
        case leave
        /// An engine wants the embedding of an item.
        case embedding
    }

    enum Answer: Sendable {
        case message(JSONValue)
        /// Nobody listens there.
        case refused
        /// The other side went away, or was silent for too long.
        case lost
    }

    private struct Entry: Sendable {
        weak var server: SimulatedServer?
    }

    private static let servers = Lock<[Address: Entry]>([:])

    static func add(_ server: SimulatedServer, _ address: Address) {
        servers.withLock { $0[address] = Entry(server: server) }
    }

    static func remove(_ address: Address) {
        servers.withLock { $0[address] = nil }
    }

    /// Sends a message; the answer comes on some thread, perhaps before this returns. Not to be called under a server's lock.
    static func send(
        _ message: Message,
        _ content: JSONValue,
        to address: Address,
        within timeout: Duration,
        _ answer: @escaping @Sendable (Answer) -> Void
    ) {
        if let server = servers.withLock({ $0[address]?.server }) {
            server.receive(message, content) { answer(.message($0)) }
            return
        }
        Threads.run { answer(call("/sim/kv/\(message.rawValue)", content.text, address, timeout)) }
    }

    /// One request over a connection of its own. Blocks.
    private static func call(_ path: String, _ body: String, _ address: Address, _ timeout: Duration) -> Answer {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return .refused }
        defer { close(socket) }
        var time = timeval(tv_sec: Int(timeout.components.seconds) + 1, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(socket, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = UInt16(clamping: address.port).bigEndian
        let host = address.host == "localhost" ? "127.0.0.1" : address.host
        guard inet_pton(AF_INET, host, &name.sin_addr) == 1 else { return .refused }
        let connected = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { return .refused }
        let head =
            "POST \(path) HTTP/1.1\r\nhost: \(address)\r\nconnection: close\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
        let request = Array((head + body).utf8)
        guard Glibc.send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return .lost }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 1 << 20 {
            let count = recv(socket, &piece, piece.count, 0)
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        guard let end = bytes.firstRange(of: [13, 10, 13, 10]),
            let value = try? JSONReader.read(Array(bytes[end.upperBound...]))
        else { return .lost }
        return .message(value)
    }
}
