import Glibc

/// A client of plain bytes, so that tests see and decide exactly what is on the wire. Reads end after 20 seconds at the latest.
final class RawClient {
    private let descriptor: Int32
    private var buffer: [UInt8] = []

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = in_port_t(port).bigEndian
        name.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw ClientError.cannotConnect }
    }

    deinit {
        hangUp()
    }

    enum ClientError: Error {
        case cannotConnect
        /// The connection ended, or nothing came for too long.
        case ended
    }

    private var isOpen = true

    func hangUp() {
        if isOpen { close(descriptor) }
        isOpen = false
    }

    func send(_ text: String) {
        send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Up to and with the text.
    func read(through text: String) throws -> String {
        let end = Array(text.utf8)
        while true {
            if let range = buffer.firstRange(of: end) {
                let result = String(decoding: buffer[..<range.upperBound], as: UTF8.self)
                buffer.removeSubrange(..<range.upperBound)
                return result
            }
            try fill()
        }
    }

    func read(count: Int) throws -> String {
        while buffer.count < count { try fill() }
        let result = String(decoding: buffer[..<count], as: UTF8.self)
        buffer.removeSubrange(..<count)
        return result
    }

    /// Whatever comes until the server closes.
    func readToEnd() -> String {
        while (try? fill()) != nil {}
        defer { buffer = [] }
        return String(decoding: buffer, as: UTF8.self)
    }

    /// One answer with a content-length: its first line and its body.
    func answer() throws -> (status: String, head: String, body: String) {
        let head = try read(through: "\r\n\r\n")
        let lines = head.split(separator: "\r\n")
        let length = lines.first { $0.lowercased().hasPrefix("content-length:") }?.split(separator: " ").last
        let body = try read(count: length.flatMap { Int($0) } ?? 0)
        return (String(lines[0].split(separator: " ")[1]), head, body)
    }

    /// One piece of a chunked body; empty at its end.
    func chunk() throws -> String {
        // CR LF is one character.
        let size = try read(through: "\r\n").dropLast()
        let chunk = try read(count: Int(size, radix: 16) ?? 0)
        _ = try read(through: "\r\n")
        return chunk
    }

    private func fill() throws {
        var piece = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &piece, piece.count, 0)
        guard count > 0 else { throw ClientError.ended }
        buffer += piece[..<count]
    }
}
