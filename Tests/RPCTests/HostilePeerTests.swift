import CGRPC
import Glibc
import TestSupport
import Testing

@testable import RPC

/// A plain TCP connection, for what no gRPC client would send.
final class RawConnection {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(code == 0)
    }

    deinit {
        close(descriptor)
    }

    func send(_ bytes: [UInt8]) {
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// The next HTTP/2 frame's type and flags; nil when the server has closed the connection.
    func readFrame() -> (type: UInt8, flags: UInt8)? {
        guard let head = read(9), read(Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])) != nil else { return nil }
        return (head[3], head[4])
    }

    private func read(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        if count == 0 { return bytes }
        return recv(descriptor, &bytes, count, Int32(MSG_WAITALL)) == count ? bytes : nil
    }

    /// Reads until the server closes the connection.
    func readToEnd() {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while recv(descriptor, &chunk, chunk.count, 0) > 0 {}
    }
}

private let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
private let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]

@Suite("Hostile peers")
struct HostilePeerTests {
    @Test(
        "Bytes that are no HTTP/2 close their connection and nothing else",
        arguments: [
            Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8),
            preface + [UInt8](repeating: 0xFF, count: 10_000),
            // HEADERS of a stream whose header block is garbage.
            preface + emptySettings + [0, 0, 4, 1, 4, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
            // DATA for a stream that was never opened, with a length that is not there.
            preface + emptySettings + [0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1],
        ] as [[UInt8]]
    )
    func garbage(bytes: [UInt8]) async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            try await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Echo")
                await call.send([1])
                #expect(await call.receive() == [1])

                let raw = try RawConnection(port: server.port)
                raw.send(bytes)
                raw.readToEnd()

                await call.send([2])
                #expect(await call.receive() == [2])
                await call.halfClose()
                #expect(await call.status().code == 0)
            }
        }
    }

    @Test(
        "Connections that never speak, or stop, do not hold up the shutdown",
        arguments: [[], preface + emptySettings]
    )
    func silence(bytes: [UInt8]) async throws {
        let server = try Server(
            configuration: ServerConfiguration(bindAddress: "127.0.0.1"),
            services: ["/test/Echo": echoHandler]
        )
        let raw = try (0..<10).map { _ in try RawConnection(port: server.port) }
        for connection in raw { connection.send(bytes) }
        // Served after the silent ones, so they have been accepted.
        await withGRPCClient(port: server.port) { client in
            #expect(await client.unary("/test/Echo", [1]).reply == [1])
        }
        await server.shutdown(grace: .milliseconds(100))
        for connection in raw { connection.readToEnd() }
    }

    @Test("A client that pings all the time gets its answers, not GOAWAY")
    func pings() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            let raw = try RawConnection(port: server.port)
            raw.send(preface + emptySettings)
            let ping: [UInt8] = [0, 0, 8, 6, 0, 0, 0, 0, 0] + [UInt8](repeating: 1, count: 8)
            var answers = 0
            raw.send(ping)
            // GOAWAY is type 7; an answer to a ping is type 6 with the flag ACK.
            while answers < 20, let frame = raw.readFrame(), frame.type != 7 {
                guard frame.type == 6, frame.flags == 1 else { continue }
                answers += 1
                raw.send(ping)
            }
            #expect(answers == 20)
        }
    }

    @Test("Streams that are opened and reset at once leave nothing behind")
    func rapidReset() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            await withGRPCClient(port: server.port) { client in
                for _ in 0..<1000 {
                    client.call("/test/Echo").cancel()
                }
                #expect(await client.unary("/test/Echo", [1]).reply == [1])
                while server.activeStreams > 0 { await Task.yield() }
            }
        }
    }
}
