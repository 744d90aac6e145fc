import CGRPC
import Glibc
import TestSupport
import Testing

@testable import RPC

/// A plain TCP connection, for what no gRPC client would send.
private final class RawConnection {
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

    @Test("A client that pings all the time keeps its connection")
    func pings() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            let pings = [
                "grpc.keepalive_time_ms": 10, "grpc.keepalive_permit_without_calls": 1,
                "grpc.http2.max_pings_without_data": 0, "grpc.http2.min_time_between_pings_ms": 10,
            ]
            try await withGRPCClient(port: server.port, arguments: pings) { client in
                let call = client.call("/test/Echo")
                // By core's defaults the third ping would have ended the connection.
                for number in 0..<4 {
                    try await Task.sleep(for: .milliseconds(100))
                    await call.send([UInt8(number)])
                    #expect(await call.receive() == [UInt8(number)])
                }
                await call.halfClose()
                #expect(await call.status().code == 0)
            }
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
