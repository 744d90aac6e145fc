import Bytes
import Certificates
import SubRequests
import TestSupport
import Testing

/// Certificates in files, and servers with them.
struct TLSFixture {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// A self-signed pair; its certificate's file is also its authority's.
    func pair(
        _ name: String,
        names: [String] = ["localhost"],
        addresses: [String] = ["127.0.0.1"],
        side: KeyPair.Side = .server,
        lifetime: Duration = .seconds(3600)
    ) throws -> (certificate: String, key: String) {
        let pair = try KeyPair.selfSigned(names: names, addresses: addresses, side: side, lifetime: lifetime)
        return (
            try directory.write(pair.certificateChain, to: "\(name).crt"),
            try directory.write(pair.privateKey, to: "\(name).key")
        )
    }
}

@Suite("The HTTP client over TLS", .timeLimit(.minutes(2)))
struct TLSTests {
    let client = HTTPClient()
    let fixture: TLSFixture
    let pair: (certificate: String, key: String)
    let tls: ServerTLS
    let server: FakeHTTPServer

    init() throws {
        fixture = try TLSFixture()
        pair = try fixture.pair("server")
        tls = try ServerTLS(certificateFile: pair.certificate, keyFile: pair.key)
        server = try FakeHTTPServer(tls: tls) { request in .text("\(request.method) \(request.body.count)") }
    }

    private func failure(_ url: String, _ trust: TLSTrust?) async -> HTTPClientError? {
        do {
            // The handshake is part of connecting, and a busy machine takes its time for it.
            let request = HTTPRequest(url: url, connectTimeout: .seconds(30), timeout: .seconds(30), trust: trust)
            _ = try await client.send(request)
            return nil
        } catch {
            return error
        }
    }

    @Test("A server that leads to the authority is spoken to, over one kept connection")
    func trusted() async throws {
        let trust = TLSTrust(caFile: pair.certificate)
        for size in [0, 5, 300_000] {
            let body = HTTPBody([UInt8](repeating: 65, count: size))
            let request = HTTPRequest(
                method: "POST",
                url: server.url(),
                body: body,
                connectTimeout: .seconds(30),
                trust: trust
            )
            #expect(try await client.send(request).body == Array("POST \(size)".utf8))
        }
        #expect(server.connectionCount == 1)
    }

    @Test("The server's name is sent and checked")
    func serverName() async throws {
        let trust = TLSTrust(caFile: pair.certificate)
        #expect(await failure("https://localhost:\(server.port)/", trust) == nil)
        #expect(tls.serverNames.entries == ["localhost"])
        let other = try fixture.pair("other", names: ["elsewhere.example"], addresses: ["127.0.0.2"])
        let wrong = try FakeHTTPServer(tls: ServerTLS(certificateFile: other.certificate, keyFile: other.key)) { _ in
            .text("no")
        }
        for url in [wrong.url(), "https://localhost:\(wrong.port)/"] {
            #expect(await failure(url, TLSTrust(caFile: other.certificate))?.code == .untrusted)
        }
    }

    @Test("A server of another authority is not trusted, and gets no request")
    func untrusted() async throws {
        let other = try fixture.pair("other")
        for trust in [TLSTrust(caFile: other.certificate), .system] {
            let error = await failure(server.url(), trust)
            #expect(error?.code == .untrusted)
            #expect(error?.isConnectFailure == true)
        }
        #expect(!server.events.entries.contains(.request(connection: 1, path: "/")))
    }

    @Test("A certificate whose time is over is not trusted")
    func expired() async throws {
        let old = try fixture.pair("old", lifetime: .seconds(-60))
        let server = try FakeHTTPServer(tls: ServerTLS(certificateFile: old.certificate, keyFile: old.key)) { _ in
            .text("no")
        }
        #expect(await failure(server.url(), TLSTrust(caFile: old.certificate))?.code == .untrusted)
    }

    @Test("Without verification any certificate will do, also after a request that verified")
    func unverified() async throws {
        let other = try fixture.pair("other")
        #expect(await failure(server.url(), TLSTrust(insecureSkipVerify: true)) == nil)
        #expect(await failure(server.url(), TLSTrust(caFile: other.certificate))?.code == .untrusted)
        #expect(await failure(server.url(), TLSTrust(insecureSkipVerify: true)) == nil)
    }

    @Test("A connection made without verification is not used by a request that verifies")
    func separateConnections() async throws {
        for trust in [TLSTrust(insecureSkipVerify: true), TLSTrust(caFile: pair.certificate)] {
            for _ in 0..<3 { #expect(await failure(server.url(), trust) == nil) }
        }
        #expect(server.connectionCount == 2)
        #expect(tls.resumptions.entries == [false, false])
    }

    @Test("A server that asks for a certificate is shown ours")
    func clientCertificate() async throws {
        let own = try fixture.pair("client", side: .client)
        let tls = try ServerTLS(certificateFile: pair.certificate, keyFile: pair.key, clientCAFile: own.certificate)
        let server = try FakeHTTPServer(tls: tls) { _ in .text("ok") }
        var trust = TLSTrust(caFile: pair.certificate)
        #expect(await failure(server.url(), trust) != nil)
        trust.clientCertificateFile = own.certificate
        trust.clientKeyFile = pair.key
        #expect(await failure(server.url(), trust)?.code == .badTrust)
        trust.clientKeyFile = own.key
        #expect(await failure(server.url(), trust) == nil)
    }

    @Test("Files that cannot be read or used are named as the fault")
    func badTrust() async throws {
        let junk = try fixture.directory.write("no PEM", to: "junk.crt")
        for file in [junk, fixture.directory.path + "/missing.crt"] {
            #expect(await failure(server.url(), TLSTrust(caFile: file))?.code == .badTrust)
        }
        let trust = TLSTrust(caFile: pair.certificate, clientCertificateFile: junk, clientKeyFile: pair.key)
        #expect(await failure(server.url(), trust)?.code == .badTrust)
    }

    @Test("A server that speaks no TLS is told apart, and so is one that says nothing")
    func noTLS() async throws {
        let plain = try FakeHTTPServer { _ in .text("plain") }
        let trust = TLSTrust(caFile: pair.certificate)
        let talker = try RawServer { connection in try await connection.write("220 smtp.example ready\r\n") }
        let error = await failure("https://127.0.0.1:\(talker.port)/", trust)
        #expect(error?.code == .handshake, "\(String(describing: error))")
        let request = HTTPRequest(
            url: "https://\(plain.address)/",
            connectTimeout: .milliseconds(200),
            timeout: .seconds(20),
            trust: trust
        )
        await #expect { try await client.send(request) } throws: { error in
            (error as? HTTPClientError)?.code == .connectTimeout
        }
    }

    @Test("An https:// address without trust is not spoken to")
    func noTrust() async throws {
        #expect(await failure(server.url(), nil)?.code == .badRequest)
        #expect(server.connectionCount == 0)
    }
}
