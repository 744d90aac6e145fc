private import Bytes
private import Configuration
private import Glibc

/// Asks DNS servers, over UDP and, for what does not fit, over TCP. Blocks while it waits.
package struct DNSResolver: Sendable {
    package struct Server: Sendable, Equatable {
        package var address: String
        package var port: Int

        package init(address: String, port: Int = 53) {
            self.address = address
            self.port = port
        }
    }

    /// Why nothing is known of a name.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
        /// Somebody has answered, but not for this name.
        fileprivate var isAnswered = false
    }

    package var servers: [Server]
    /// Endings that names may be short of.
    package var search: [String] = []
    /// Names with fewer dots than these are tried with an ending first.
    package var dots = 1
    /// For each try of each server.
    package var timeout = Duration.seconds(2)
    package var attempts = 2

    package init(servers: [Server]) {
        self.servers = servers
    }

    /// What the system is set to, as of now.
    package static func system(_ path: String = "/etc/resolv.conf") -> DNSResolver {
        let text = (try? TextFile.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        var resolver = DNSResolver(servers: [])
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            switch words.first {
            case "nameserver"? where words.count > 1 && EndpointAddress.isLiteral(words[1]):
                if resolver.servers.count < 3 { resolver.servers.append(Server(address: words[1])) }
            case "search"?, "domain"?: resolver.search = Array(words.dropFirst().prefix(32))
            case "options"?:
                for option in words.dropFirst() where option.hasPrefix("ndots:") {
                    resolver.dots = min(max(0, Int(option.dropFirst(6)) ?? 1), 15)
                }
            default: break
            }
        }
        if resolver.servers.isEmpty { resolver.servers = [Server(address: "127.0.0.1")] }
        return resolver
    }

    /// The records of a name; none when it has none or does not exist.
    func records(_ name: String, _ type: DNSType) throws(Failure) -> (
        records: [DNSRecord], additional: [String: [String]]
    ) {
        var failure: Failure?
        for candidate in candidates(name) {
            do {
                let answer = try ask(candidate, type)
                if !answer.records.isEmpty { return (answer.records, answer.additional) }
            } catch {
                // Servers refuse names with endings that are not theirs, and may know the next one all the same. Of silence there would only be more.
                guard error.isAnswered else { throw error }
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        return ([], [:])
    }

    private func candidates(_ name: String) -> [String] {
        if name.hasSuffix(".") { return [name] }
        let long = search.map { "\(name).\($0)" }
        let isLong = name.utf8.count { $0 == UInt8(ascii: ".") } >= dots
        return isLong ? [name] + long : long + [name]
    }

    /// The first answer that one of the servers can give.
    private func ask(_ name: String, _ type: DNSType) throws(Failure) -> DNSAnswer {
        var problem = Failure(description: "no server")
        for _ in 0..<max(1, attempts) {
            for server in servers {
                let id = UInt16.random(in: .min ... .max)
                guard let query = DNSMessage.query(name, type, id: id) else {
                    throw Failure(description: "\(name) is no name")
                }
                let exchange = DNSExchange(server: server, query: query, timeout: timeout) { bytes in
                    try? DNSMessage.answer(bytes, to: name, type, id: id)
                }
                guard var answer = exchange.overUDP() else {
                    problem = Failure(description: "\(server.address) does not answer for \(name)")
                    continue
                }
                if answer.isCut {
                    guard let whole = exchange.overTCP() else {
                        problem = Failure(description: "\(server.address) does not answer for \(name) over TCP")
                        continue
                    }
                    answer = whole
                }
                if case .failed(let code) = answer.outcome {
                    let description = "\(server.address) answers for \(name) with code \(code)"
                    problem = Failure(description: description, isAnswered: true)
                    continue
                }
                return answer
            }
        }
        throw problem
    }
}

/// One question to one server.
private struct DNSExchange {
    let server: DNSResolver.Server
    let query: [UInt8]
    let timeout: Duration
    /// Nil for what is no answer to the question.
    let read: ([UInt8]) -> DNSAnswer?

    func overUDP() -> DNSAnswer? {
        // Connected, so that only the server's datagrams are received.
        guard let socket = connected(SOCK_DGRAM) else { return nil }
        defer { close(socket) }
        guard send(socket, query, query.count, Int32(MSG_NOSIGNAL)) == query.count else { return nil }
        let deadline = MonotonicTime.now() + timeout
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while wait(socket, POLLIN, until: deadline) {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count >= 0 else { return nil }
            if let answer = read(Array(buffer[..<count])) { return answer }
        }
        return nil
    }

    func overTCP() -> DNSAnswer? {
        guard let socket = connected(SOCK_STREAM) else { return nil }
        defer { close(socket) }
        let deadline = MonotonicTime.now() + timeout
        guard wait(socket, POLLOUT, until: deadline) else { return nil }
        let message = [UInt8(query.count >> 8), UInt8(query.count & 255)] + query
        guard send(socket, message, message.count, Int32(MSG_NOSIGNAL)) == message.count else { return nil }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while wait(socket, POLLIN, until: deadline) {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes += buffer[..<count]
            guard bytes.count >= 2 else { continue }
            let length = Int(bytes[0]) << 8 | Int(bytes[1])
            if bytes.count >= length + 2 { return read(Array(bytes[2..<length + 2])) }
        }
        return nil
    }

    private func connected(_ type: __socket_type) -> Int32? {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(type.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(server.address, "\(server.port)", &hints, &found) == 0, let found else { return nil }
        defer { freeaddrinfo(found) }
        let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let socket = Glibc.socket(found.pointee.ai_family, found.pointee.ai_socktype | flags, 0)
        guard socket >= 0 else { return nil }
        guard connect(socket, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 || errno == EINPROGRESS else {
            close(socket)
            return nil
        }
        return socket
    }

    private func wait(_ socket: Int32, _ event: Int32, until deadline: MonotonicTime) -> Bool {
        while true {
            let left = deadline.elapsed(since: .now()).nanoseconds
            guard left > 0 else { return false }
            var entry = pollfd(fd: socket, events: Int16(event), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: (left + 999_999) / 1_000_000))
            if count > 0 { return true }
            if count < 0, errno != EINTR { return false }
        }
    }
}
