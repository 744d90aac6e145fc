import Certificates
import Foundation
import TestSupport
import Testing

extension GRPCClient.TLS {
    fileprivate init(trusting pair: KeyPair) {
        self.init(roots: pair.certificateChain)
    }
}

/// Changes what Envoy's configuration says about TLS.
private func settings(_ validation: String = "validation_context: {}", adding more: [String] = [])
    -> @Sendable (String)
    throws -> String
{
    { text in
        let old = "validation_context: {}\n"
        guard text.contains(old) else { throw TestFailure("no TLS in the configuration") }
        let lines = [validation] + more
        return text.replacing(old, with: lines.joined(separator: "\n          ") + "\n")
    }
}

/// Offers TLS 1.2 with one suite.
private func only(_ suite: String) -> @Sendable (String) throws -> String {
    settings(adding: ["tls_params: {tls_maximum_protocol_version: TLSv1_2, cipher_suites: [\(suite)]}"])
}

/// Verifies Apus against these roots, at its address.
private func verifying(_ file: String) -> String {
    "validation_context: {trusted_ca: {filename: \"\(file)\"}, match_typed_subject_alt_names: "
        + "[{san_type: IP_ADDRESS, matcher: {exact: 127.0.0.1}}]}"
}

extension Deployment {
    /// What another Envoy, in front of the same Apus, answers to a request.
    fileprivate func status(through change: @Sendable (String) throws -> String) async throws -> Int {
        let template = EnvoyProcess.Configuration.originalDestinationTLS(
            externalProcessorPort: apus.externalProcessorPort
        )
        let other = try await EnvoyProcess(.text(change(template.text())))
        defer { withExtendedLifetime(other) {} }
        return try await other.client().send(Ask.completion()).status
    }
}

@Suite("TLS between Envoy and Apus", .serialized, .showsLogs)
struct TLSTests {
    @Test("By default the certificate is self-signed, and Envoy that does not verify is served")
    func selfSigned() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.isSecure = true
        try await withDeployment(plan) { deployment in
            for isStream in [false, true] {
                let (id, response) = try await deployment.send(Ask.completion(stream: isStream))
                #expect(response.status == 200)
                #expect(try await deployment.arrival(id).request["path"].string == "/v1/completions")
            }
            // A gateway that speaks plain text gets nothing, and harms nobody.
            let port = deployment.apus.externalProcessorPort
            let plain = try await EnvoyProcess(.originalDestination(externalProcessorPort: port))
            #expect(try await plain.client().send(Ask.completion()).status == 500)
            #expect(plain.process.isRunning)
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
            // Health stays in plain text.
            #expect(await Health.check(deployment.apus.healthPort) == Health.serving)
        }
    }

    @Test("Certificate files are followed, one at a time or by a swapped link, and no request fails meanwhile")
    func reload() async throws {
        let files = try TLSFiles()
        let pairs = try (0..<3).map { _ in try TLSFiles.serverPair() }
        try files.swap(to: pairs[0])
        let roots = try files.directory.write(pairs.map(\.certificateChain).joined(), to: "roots.pem")
        var plan = Deployment.Plan(servers: 1)
        plan.isSecure = true
        plan.apus = ["--cert-path=\(files.directory.path)", "--enable-cert-reload", "--health-checking"]
        plan.envoy = { text, _ in
            // Every request over a connection, and so a handshake, of its own.
            try settings(verifying(roots))(text).replacing(
                "http2_protocol_options:\n            connection_keepalive",
                with: "http2_protocol_options:\n            max_concurrent_streams: 1\n            connection_keepalive"
            ).replacing(
                "  - name: ext_proc\n    type: STATIC",
                with: "  - name: ext_proc\n    max_requests_per_connection: 1\n    type: STATIC"
            )
        }
        try await withDeployment(plan) { deployment in
            let port = deployment.apus.externalProcessorPort
            func shows(_ pair: KeyPair) async -> Bool {
                await Health.check(port, tls: GRPCClient.TLS(trusting: pair)) == Health.serving
            }
            #expect(await shows(pairs[0]))
            // Cancelled in place of the load, whose requests are to come to their ends.
            let end = Task { try? await Task.sleep(for: .seconds(3600)) }
            let load = Task {
                try await withThrowingTaskGroup(of: [Int].self) { group in
                    for _ in 0..<3 {
                        group.addTask {
                            var statuses: [Int] = []
                            while !end.isCancelled {
                                statuses.append(try await deployment.client.send(Ask.completion()).status)
                            }
                            return statuses
                        }
                    }
                    return try await group.reduce([], +)
                }
            }
            try files.swap(to: pairs[1])
            try await eventually("the second certificate") { await shows(pairs[1]) }

            // Plain files, the certificate first: until the key follows, the old pair goes on.
            try files.write(certificateOf: pairs[2])
            _ = try await deployment.apus.process.waitForLine(containing: "TLS files not used")
            #expect(await shows(pairs[1]))
            try files.write(keyOf: pairs[2])
            try await eventually("the third certificate") { await shows(pairs[2]) }
            #expect(await !shows(pairs[1]))

            end.cancel()
            let statuses = try await load.value
            #expect(statuses.count > 10)
            #expect(statuses.allSatisfy { $0 == 200 })
            let connections = "cluster.ext_proc.upstream_cx_total"
            let made = try await deployment.envoy.statistics(containing: connections)[connections] ?? 0
            #expect(made >= statuses.count)
            let failed = try await deployment.envoy.statistics(containing: "cluster.ext_proc.ssl.connection_error")
            #expect(failed.values.allSatisfy { $0 == 0 })
        }
    }

    @Test("Where a client CA is named, Envoy is served with a certificate of it only")
    func clientCertificates() async throws {
        let files = try TLSFiles()
        func write(_ name: String) throws -> (certificate: String, identity: String) {
            let pair = try KeyPair.selfSigned(names: ["gateway"], addresses: [], side: .client)
            let certificate = try files.directory.write(pair.certificateChain, to: "\(name).crt")
            let key = try files.directory.write(pair.privateKey, to: "\(name).key")
            let identity =
                "tls_certificates: [{certificate_chain: {filename: \"\(certificate)\"}, private_key: {filename: \"\(key)\"}}]"
            return (certificate, identity)
        }
        let (known, unknown) = (try write("known"), try write("unknown"))
        var plan = Deployment.Plan(servers: 1)
        plan.isSecure = true
        plan.apus = ["--client-ca-file=\(known.certificate)"]
        let gateway = settings(adding: [known.identity])
        plan.envoy = { text, _ in try gateway(text) }
        let (nobody, stranger) = (settings(), settings(adding: [unknown.identity]))
        try await withDeployment(plan) { deployment async throws in
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
            #expect(try await deployment.status(through: nobody) == 500)
            #expect(try await deployment.status(through: stranger) == 500)
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
        }
    }

    @Test("The lowest version is kept to")
    func minimumVersion() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.isSecure = true
        plan.apus = ["--tls-min-version=VersionTLS13"]
        let new = settings(adding: ["tls_params: {tls_maximum_protocol_version: TLSv1_3}"])
        plan.envoy = { text, _ in try new(text) }
        try await withDeployment(plan) { deployment async throws in
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
            let old = settings(adding: ["tls_params: {tls_maximum_protocol_version: TLSv1_2}"])
            #expect(try await deployment.status(through: old) == 500)
        }
    }

    @Test("The suites of TLS 1.2 are those that were named")
    func suites() async throws {
        let (named, other) = (only("ECDHE-ECDSA-AES256-GCM-SHA384"), only("ECDHE-ECDSA-AES128-GCM-SHA256"))
        var plan = Deployment.Plan(servers: 1)
        plan.isSecure = true
        plan.apus = ["--tls-min-version=1.2", "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
        plan.envoy = { text, _ in try named(text) }
        try await withDeployment(plan) { deployment async throws in
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
            #expect(try await deployment.status(through: other) == 500)
        }
    }

    @Test("What cannot be served with is refused at the start, in one line")
    func refusals() async throws {
        let files = try TLSFiles()
        let (one, two) = (try TLSFiles.serverPair(), try TLSFiles.serverPair())
        try files.write(certificateOf: one)
        try files.write(keyOf: two)
        let path = files.directory.path
        let cases: [(arguments: [String], message: String)] = [
            (["--tls-min-version=VersionTLS11"], "--tls-min-version: VersionTLS11 is not available"),
            (["--tls-min-version=2"], "--tls-min-version: unknown version 2"),
            (["--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"], "unknown cipher suite TLS_RSA_WITH_RC4_128_SHA"),
            (["--cert-path=\(path)/nowhere"], "\(path)/nowhere/tls.crt: cannot open"),
            (["--cert-path=\(path)"], "\(path)/tls.crt and \(path)/tls.key: the private key cannot be used"),
            (["--client-ca-file=\(path)/tls.key"], "\(path)/tls.key: there is no certificate"),
            (["--client-ca-file=\(path)/tls.crt", "--secure-serving=false"], "--client-ca-file needs TLS"),
        ]
        for (arguments, message) in cases {
            let (status, output) = try await Apus.run(["--endpoints=127.0.0.1:1"] + arguments)
            #expect(status == .exited(1))
            #expect(output.contains(message), "\(arguments): \(output)")
        }
    }
}
