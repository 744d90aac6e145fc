import Glibc

/// A page of a server on 127.0.0.1, fetched on a connection of its own.
enum PlainGet {
    /// The body of the answer to `GET path`, whatever its status. Waits ten seconds for each piece.
    static func body(port: Int, path: String) throws -> String {
        let socket = try Loopback.connect(port: port, isBlocking: true)
        defer { close(socket) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let request = Array("GET \(path) HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".utf8)
        guard send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            throw BenchError("cannot ask port \(port) for \(path)")
        }
        var reader = HTTPMessageReader(.reply)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !reader.isDone {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            _ = try buffer.withUnsafeBytes { try reader.read(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            answer += buffer[..<count]
        }
        // What is left of the answer's head and of chunks' frames does no harm to who looks for lines.
        return String(decoding: answer, as: UTF8.self)
    }

    /// The sum of a metric's samples whose labels contain `label`, on a page of metrics.
    static func sum(of name: String, label: String = "", in page: String) -> Double {
        var sum = 0.0
        for line in page.split(whereSeparator: \.isNewline)
        where line.hasPrefix(name) && line.contains(label) {
            let rest = line.dropFirst(name.count)
            guard rest.first == "{" || rest.first == " ", let value = rest.split(separator: " ").last else { continue }
            sum += Double(value) ?? 0
        }
        return sum
    }
}
