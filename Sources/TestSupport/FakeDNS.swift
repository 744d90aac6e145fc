import Bytes
import Glibc

/// A DNS server for tests, over UDP and TCP on one port of 127.0.0.1, each on a thread of its own.
package final class FakeDNS: Sendable {
    package enum Record: Sendable {
        case a([UInt8])
        case aaaa([UInt8])
        case srv(priority: UInt16, port: UInt16, target: String)
        case cname(String)
    }

    package enum Answer: Sendable {
        /// Answers, and records that come along with them by name.
        case records([Record], additional: [(String, Record)] = [])
        /// With this response code.
        case code(UInt8)
        case silence
        /// These bytes behind the question's own twelve and the question itself.
        case raw([UInt8])
    }

    package struct Question: Sendable, Equatable {
        package let name: String
        package let type: UInt16
        package let isTCP: Bool
    }

    package let port: Int
    package let questions = EventLog<Question>()
    /// Over UDP every answer says that it is cut.
    private let isCut: Bool
    private let answer: Lock<@Sendable (Question) -> Answer>
    private let datagrams: Int32
    private let listener: Int32

    package init(isCut: Bool = false, _ answer: @escaping @Sendable (Question) -> Answer) throws {
        self.isCut = isCut
        self.answer = Lock(answer)
        // A port that is free for TCP may be taken for UDP.
        var found: (datagrams: Int32, listener: Int32, port: Int)?
        for _ in 0..<50 where found == nil { found = Self.sockets() }
        guard let (datagrams, listener, port) = found, listen(listener, 16) == 0 else {
            throw TestFailure("no port for a DNS server")
        }
        (self.listener, self.datagrams) = (listener, datagrams)
        self.port = port
        Self.spawn { [weak self] in
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                var peer = sockaddr_storage()
                var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let count = withUnsafeMutablePointer(to: &peer) { peer in
                    peer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(datagrams, &buffer, buffer.count, 0, $0, &size)
                    }
                }
                guard count > 0, let fake = self else { break }
                guard let reply = fake.reply(Array(buffer[..<count]), isTCP: false) else { continue }
                _ = withUnsafePointer(to: &peer) { peer in
                    peer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(datagrams, reply, reply.count, 0, $0, size)
                    }
                }
            }
            close(datagrams)
        }
        Self.spawn { [weak self] in
            while true {
                let socket = accept(listener, nil, nil)
                guard socket >= 0, let fake = self else { break }
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = recv(socket, &buffer, buffer.count, 0)
                if count > 2, let reply = fake.reply(Array(buffer[2..<count]), isTCP: true) {
                    let message = [UInt8(reply.count >> 8), UInt8(reply.count & 255)] + reply
                    // In two pieces, as it may come.
                    send(socket, message, 1, Int32(MSG_NOSIGNAL))
                    _ = message[1...].withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                }
                close(socket)
            }
            close(listener)
        }
    }

    deinit {
        shutdown(datagrams, Int32(SHUT_RDWR))
        shutdown(listener, Int32(SHUT_RDWR))
    }

    /// Answers otherwise from now on.
    package func set(_ answer: @escaping @Sendable (Question) -> Answer) {
        self.answer.withLock { $0 = answer }
    }

    private func reply(_ query: [UInt8], isTCP: Bool) -> [UInt8]? {
        var labels: [String] = []
        var offset = 12
        while offset < query.count, query[offset] > 0 {
            let end = offset + 1 + Int(query[offset])
            labels.append(String(decoding: query[offset + 1..<end], as: UTF8.self))
            offset = end
        }
        guard offset + 5 <= query.count else { return nil }
        let question = Array(query[12..<offset + 5])
        let type = UInt16(query[offset + 1]) << 8 | UInt16(query[offset + 2])
        let asked = Question(name: labels.joined(separator: "."), type: type, isTCP: isTCP)
        questions.append(asked)
        func head(_ code: UInt8, _ answers: Int, _ additional: Int) -> [UInt8] {
            [
                query[0], query[1], isCut && !isTCP ? 0x83 : 0x81, 0x80 | code, 0, 1, 0, UInt8(answers), 0, 0, 0,
                UInt8(additional),
            ]
        }
        switch answer.withLock({ $0 })(asked) {
        case .silence: return nil
        case .code(let code): return head(code, 0, 0) + question
        case .raw(let bytes): return head(0, 1, 0) + question + bytes
        case .records(let records, let additional):
            // The answers' names point to the question.
            return head(0, records.count, additional.count) + question
                + records.flatMap { [0xC0, 12] + Self.bytes($0) }
                + additional.flatMap { Self.name($0.0) + Self.bytes($0.1) }
        }
    }

    private static func bytes(_ record: Record) -> [UInt8] {
        let (type, data): (UInt8, [UInt8]) =
            switch record {
            case .a(let address): (1, address)
            case .aaaa(let address): (28, address)
            case .cname(let target): (5, name(target))
            case .srv(let priority, let port, let target):
                (33, big(priority) + [0, 10] + big(port) + name(target))
            }
        return [0, type, 0, 1, 0, 0, 0, 5] + big(UInt16(data.count)) + data
    }

    private static func name(_ name: String) -> [UInt8] {
        name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    private static func big(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 255)] }

    /// One for datagrams and one for connections, on the same port.
    private static func sockets() -> (datagrams: Int32, listener: Int32, port: Int)? {
        let datagrams = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let listener = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if let port = bind(listener, 0), bind(datagrams, port) != nil { return (datagrams, listener, port) }
        close(datagrams)
        close(listener)
        return nil
    }

    private static func bind(_ socket: Int32, _ port: Int) -> Int? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                guard Glibc.bind(socket, pointer, size) == 0, getsockname(socket, pointer, &size) == 0 else {
                    return nil
                }
                return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    Int(UInt16(bigEndian: $0.pointee.sin_port))
                }
            }
        }
    }

    private static func spawn(_ body: @escaping @Sendable () -> Void) {
        let context = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            },
            context.toOpaque()
        )
        pthread_detach(thread)
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
