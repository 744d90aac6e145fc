import Bytes
import Certificates
import TestSupport
import Testing

@testable import RPC

private let method = "/test/Echo"

private func serverPair() throws -> KeyPair {
    try KeyPair.selfSigned(names: ["localhost"], addresses: ["127.0.0.1", "::1"])
}

extension TLSIdentity {
    fileprivate init(_ pair: KeyPair, clientRoots: String? = nil) {
        self.init(
            certificateChain: pair.certificateChain,
            privateKey: pair.privateKey,
            clientRoots: clientRoots
        )
    }
}

extension GRPCClient.TLS {
    /// Trusts the server's own certificate.
    fileprivate init(_ server: KeyPair, as client: KeyPair? = nil) {
        self.init(
            roots: server.certificateChain,
            identity: client.map { ($0.certificateChain, $0.privateKey) }
        )
    }
}

/// The status of one echo over a connection of its own: 0 when it came back.
private func echo(port: Int, host: String = "127.0.0.1", _ tls: GRPCClient.TLS?) async -> Int {
    await withGRPCClient(host: host, port: port, tls: tls) { client in
        let (reply, status) = await client.unary(method, [1, 2, 3])
        return reply == [1, 2, 3] ? status.code : max(status.code, 2)
    }
}

private func withTLSServer(
    _ credentials: TLSCredentials,
    pollers: Int = 1,
    handshakeTimeout: Duration = .seconds(60),
    _ body: (Server) async throws -> Void
) async throws {
    try await withServer([method: echoHandler]) { configuration in
        configuration.credentials = .tls(credentials)
        configuration.pollers = pollers
        configuration.handshakeTimeout = handshakeTimeout
    } _: { server in
        try await body(server)
    }
}

@Suite("TLS")
struct TLSTests {
    @Test("A client that trusts the certificate and finds its host in it is served")
    func serves() async throws {
        let pair = try serverPair()
        try await withTLSServer(TLSCredentials(TLSIdentity(pair))) { server in
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 0)
            #expect(await echo(port: server.port, host: "localhost", GRPCClient.TLS(pair)) == 0)
        }
    }

    @Test("A client that trusts another certificate, or speaks plain text, is not")
    func strangers() async throws {
        let (pair, other) = (try serverPair(), try serverPair())
        try await withTLSServer(TLSCredentials(TLSIdentity(pair))) { server in
            #expect(await echo(port: server.port, GRPCClient.TLS(other)) == 14)
            #expect(await echo(port: server.port, nil) == 14)
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 0)
        }
    }

    @Test("A certificate without the client's host is refused by the client")
    func otherHost() async throws {
        let pair = try KeyPair.selfSigned(names: ["localhost"], addresses: ["127.0.0.2"])
        try await withTLSServer(TLSCredentials(TLSIdentity(pair))) { server in
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 14)
        }
    }

    @Test("A replaced identity is shown from the next handshake on, and connections that exist go on")
    func replaces() async throws {
        let (old, new) = (try serverPair(), try serverPair())
        let credentials = TLSCredentials(TLSIdentity(old))
        try await withTLSServer(credentials) { server in
            await withGRPCClient(port: server.port, tls: GRPCClient.TLS(old)) { client in
                let call = client.call(method)
                await call.send([1])
                #expect(await call.receive() == [1])
                #expect(credentials.replace(TLSIdentity(new)))
                #expect(await echo(port: server.port, GRPCClient.TLS(new)) == 0)
                #expect(await echo(port: server.port, GRPCClient.TLS(old)) == 14)
                await call.send([2])
                #expect(await call.receive() == [2])
                #expect(await client.unary(method, [3]).reply == [3])
                await call.halfClose()
                #expect(await call.status().code == 0)
            }
        }
    }

    @Test("No handshake fails while identities are replaced", .timeLimit(.minutes(5)))
    func replacesUnderLoad() async throws {
        let (one, two) = (try serverPair(), try serverPair())
        let both = GRPCClient.TLS(roots: one.certificateChain + two.certificateChain)
        let credentials = TLSCredentials(TLSIdentity(one))
        try await withTLSServer(credentials, pollers: 2) { server in
            let failures = await withTaskGroup(of: Int.self) { group in
                for worker in 0..<4 {
                    group.addTask {
                        var failures = 0
                        for round in 0..<25 {
                            if worker == 0 { _ = credentials.replace(TLSIdentity(round % 2 == 0 ? two : one)) }
                            if await echo(port: server.port, both) != 0 { failures += 1 }
                        }
                        return failures
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(failures == 0)
        }
    }

    @Test("An identity that core cannot use leaves the last one in place")
    func unusable() async throws {
        let (pair, other) = (try serverPair(), try serverPair())
        let credentials = TLSCredentials(TLSIdentity(pair))
        try await withTLSServer(credentials) { server in
            let mixed = TLSIdentity(certificateChain: other.certificateChain, privateKey: pair.privateKey)
            #expect(credentials.replace(mixed))
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 0)
        }
    }

    @Test("Where clients must show a certificate, only those with one from the roots are served")
    func clientCertificates() async throws {
        let pair = try serverPair()
        let known = try KeyPair.selfSigned(names: ["gateway"], addresses: [], side: .client)
        let unknown = try KeyPair.selfSigned(names: ["gateway"], addresses: [], side: .client)
        let credentials = TLSCredentials(TLSIdentity(pair, clientRoots: known.certificateChain))
        try await withTLSServer(credentials) { server in
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 14)
            #expect(await echo(port: server.port, GRPCClient.TLS(pair, as: unknown)) == 14)
            #expect(await echo(port: server.port, GRPCClient.TLS(pair, as: known)) == 0)
            // The roots are replaced as well, but never with none.
            #expect(credentials.replace(TLSIdentity(pair, clientRoots: unknown.certificateChain)))
            #expect(await echo(port: server.port, GRPCClient.TLS(pair, as: known)) == 14)
            #expect(await echo(port: server.port, GRPCClient.TLS(pair, as: unknown)) == 0)
            #expect(!credentials.replace(TLSIdentity(pair)))
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 14)
        }
    }

    @Test(
        "Bytes that are no TLS close their connection and nothing else",
        arguments: [
            Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8), Array("GET / HTTP/1.1\r\n\r\n".utf8),
            [UInt8](repeating: 0, count: 5000), [UInt8](repeating: 0xFF, count: 5000),
            [0x16, 3, 1, 0xFF, 0xFF] + [UInt8](repeating: 1, count: 70_000),
            [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3], [0x15, 3, 1, 0, 2, 2, 40], [0x14, 3, 3, 0, 1, 1], [0x80, 0x2E, 1, 3, 1],
        ] as [[UInt8]]
    )
    func garbage(bytes: [UInt8]) async throws {
        let pair = try serverPair()
        try await withTLSServer(TLSCredentials(TLSIdentity(pair)), handshakeTimeout: .seconds(2)) { server in
            let connection = try RawConnection(port: server.port)
            connection.send(bytes)
            connection.readToEnd()
            #expect(await echo(port: server.port, GRPCClient.TLS(pair)) == 0)
        }
    }

    @Test("A connection that says nothing is closed when its time for the handshake is over")
    func silence() async throws {
        let pair = try serverPair()
        try await withTLSServer(TLSCredentials(TLSIdentity(pair)), handshakeTimeout: .milliseconds(300)) { server in
            let connections = try (0..<20).map { _ in try RawConnection(port: server.port) }
            for connection in connections { connection.readToEnd() }
        }
    }
}
