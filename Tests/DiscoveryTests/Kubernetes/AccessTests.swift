import Certificates
import Discovery
import Foundation
import SubRequests
import TestSupport
import Testing

@Suite("Finding the Kubernetes API and being let in", .timeLimit(.minutes(2)))
struct KubernetesAccessTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func access(_ environment: [String: String]) throws(KubernetesAccess.Failure) -> KubernetesAccess {
        try KubernetesAccess.found(environment: { environment[$0] }, serviceAccount: folder.path)
    }

    private func kubeconfig(cluster: String = "server: https://api:6443", user: String = "{}") throws -> String {
        try folder.write(
            """
            current-context: b
            contexts:
            - {name: a, context: {cluster: no, user: no}}
            - name: b
              context: {cluster: c, user: u, namespace: prod}
            clusters:
            - name: c
              cluster: {\(cluster)}
            users:
            - name: u
              user: \(user)
            extensions: [{name: x}]
            """,
            to: "config"
        )
    }

    @Test("In a cluster the service account's files say who we are; the token is read anew each time")
    func inCluster() throws {
        try folder.write("one\n", to: "token")
        try folder.write("prod", to: "namespace")
        let found = try access(["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"])
        #expect(found.server == "https://[fd00::1]:6443")
        #expect(found.namespace == "prod")
        #expect(found.trust.caFile == folder.path + "/ca.crt")
        #expect(found.credential == .tokenFile(folder.path + "/token"))
    }

    @Test("A kubeconfig's current context says where the API is and who we are")
    func context() throws {
        let path = try kubeconfig(
            cluster: "server: https://api:6443/k8s/, certificate-authority: ca.pem",
            user: "{token: secret, client-certificate: /c.pem, client-key: k.pem}"
        )
        let found = try access(["KUBECONFIG": "/nowhere:\(path)", "KUBERNETES_SERVICE_HOST": "ignored"])
        #expect(found.server == "https://api:6443/k8s")
        #expect(found.namespace == "prod")
        #expect(found.credential == .token("secret"))
        #expect(found.trust.caFile == folder.path + "/ca.pem")
        #expect(found.trust.clientCertificateFile == "/c.pem")
        #expect(found.trust.clientKeyFile == folder.path + "/k.pem")
    }

    @Test(
        "What cannot be used is said",
        arguments: [
            ("{exec: {command: aws}}", "exec plugins are not run"), ("{auth-provider: {name: gcp}}", "auth providers"),
            ("{as: admin}", "impersonation"), ("{client-key-data: '*'}", "no base64"),
        ]
    )
    func refused(user: String, words: String) throws {
        let path = try kubeconfig(user: user)
        let failure = #expect(throws: KubernetesAccess.Failure.self) { try access(["KUBECONFIG": path]) }
        #expect(failure?.description.contains(words) ?? false)
    }

    @Test(
        "A kubeconfig that leads nowhere is an error",
        arguments: [
            "", "current-context: x", "a: [", "current-context: b\ncontexts: [{name: b, context: {cluster: z}}]",
        ]
    )
    func useless(text: String) throws {
        let path = try folder.write(text, to: "config")
        #expect(throws: KubernetesAccess.Failure.self) { try access(["KUBECONFIG": path]) }
    }

    @Test("Without a kubeconfig and outside of a cluster there is no API")
    func nowhere() throws {
        #expect(throws: KubernetesAccess.Failure.self) { try access(["HOME": "/nowhere"]) }
        #expect(throws: KubernetesAccess.Failure.self) { try access(["KUBECONFIG": "/nowhere"]) }
        #expect(throws: KubernetesAccess.Failure.self) { try access(["KUBERNETES_SERVICE_HOST": "x"]) }
    }

    @Test("A token that expires is replaced by the file's next one, without a list")
    func expiredToken() async throws {
        let path = try folder.write("one", to: "token")
        let fake = try fakeKubernetes(["a"])
        fake.answer { request in
            request.headers["authorization"] == "Bearer one" ? nil : .status(401)
        }
        let http = HTTPClient()
        defer { http.shutdown() }
        let client = KubernetesClient(KubernetesAccess(server: fake.url, credential: .tokenFile(path)), client: http)
        var settings = KubernetesDiscovery.Settings(WatchedDiscovery.pool, namespace: "default")
        settings.reflector.firstDelay = .milliseconds(5)
        settings.reflector.longestDelay = .milliseconds(20)
        let events = EventLog<KubernetesDiscovery.Event>()
        let discovery = KubernetesDiscovery(settings, client: client) { events.append($0) }
        discovery.start()
        defer { discovery.stop() }
        await events.wait { $0.endpoints.last?.count == 1 }
        await fake.requests.wait { $0.contains { $0.isWatch && $0.path == FakeKubernetes.pods() } }
        fake.answer { request in
            request.headers["authorization"] == "Bearer two" ? nil : .status(401)
        }
        fake.endWatches()
        await events.wait { $0.failures.contains { $0.kind == "pods" && $0.error.code == .unauthorized } }
        try fake.put(FakeKubernetes.pods(), FakeKubernetes.pod("b"))
        try folder.write("two", to: "token")
        await events.wait { $0.endpoints.last?.count == 2 }
        #expect(events.entries.failures.filter { $0.kind == "pods" }.count == 1)
        #expect(discovery.counts["pods"]?.lists == 1)
        #expect(discovery.counts["pods"]?.failures ?? 0 >= 1)
    }

    @Test("While a token's file cannot be read the last token counts: nobody comes without a name")
    func unreadableToken() async throws {
        let path = try folder.write("one", to: "token")
        let fake = try FakeKubernetes()
        let http = HTTPClient()
        defer { http.shutdown() }
        let client = KubernetesClient(KubernetesAccess(server: fake.url, credential: .tokenFile(path)), client: http)
        _ = try await client.call("GET", FakeKubernetes.pods(), timeout: .seconds(100))
        try FileManager.default.removeItem(atPath: path)
        _ = try await client.call("GET", FakeKubernetes.pods(), timeout: .seconds(100))
        try folder.write("two", to: "token")
        _ = try await client.call("GET", FakeKubernetes.pods(), timeout: .seconds(100))
        #expect(
            fake.requests.entries.map { $0.headers["authorization"] } == ["Bearer one", "Bearer one", "Bearer two"]
        )
    }

    @Test("A server's certificate may be for another name than the address; a proxy is not asked, and that is said")
    func serverName() async throws {
        let host = try KeyPair.selfSigned(names: ["api.internal"], addresses: [])
        let tls = try ServerTLS(
            certificateFile: try folder.write(host.certificateChain, to: "tls.crt"),
            keyFile: try folder.write(host.privateKey, to: "tls.key")
        )
        let hosts = EventLog<String>()
        let server = try FakeHTTPServer(tls: tls) { request in
            hosts.append(request.headers["host"] ?? "")
            return .text("{}")
        }
        let cluster = "server: 'https://\(server.address)', certificate-authority: tls.crt"
        let http = HTTPClient()
        defer { http.shutdown() }
        let other = KubernetesClient(try access(["KUBECONFIG": try kubeconfig(cluster: cluster)]), client: http)
        await #expect(throws: KubernetesError.self) { _ = try await other.call("GET", "/version") }
        let path = try kubeconfig(cluster: cluster + ", tls-server-name: api.internal, proxy-url: 'http://proxy:1'")
        let found = try access(["KUBECONFIG": path])
        #expect(found.warnings.count == 1 && found.warnings[0].contains("proxy-url"))
        let client = KubernetesClient(found, client: http)
        for _ in 0..<2 { _ = try await client.call("GET", "/version", timeout: .seconds(100)) }
        #expect(hosts.entries == [server.address, server.address])
    }

    @Test(
        "Of several kubeconfigs the first that names a thing counts, and a path is relative to the file that it stands in"
    )
    func merged() throws {
        let other = try TemporaryDirectory()
        let first = try other.write(
            """
            contexts:
            - {name: b, context: {cluster: c, user: u, namespace: first}}
            users:
            - {name: u, user: {tokenFile: token}}
            """,
            to: "config"
        )
        let second = try kubeconfig(cluster: "server: https://api, certificate-authority: ca.pem")
        let found = try access(["KUBECONFIG": "\(first):\(second)"])
        #expect(found.namespace == "first")
        #expect(found.credential == .tokenFile(other.path + "/token"))
        #expect(found.trust.caFile == folder.path + "/ca.pem")
        #expect(found.server == "https://api")
    }

    @Test("Certificates that stand in the kubeconfig itself prove who we are, over TLS")
    func clientCertificate() async throws {
        let host = try KeyPair.selfSigned(names: ["localhost"], addresses: ["127.0.0.1"])
        let user = try KeyPair.selfSigned(names: ["me"], addresses: [], side: .client)
        let tls = try ServerTLS(
            certificateFile: try folder.write(host.certificateChain, to: "tls.crt"),
            keyFile: try folder.write(host.privateKey, to: "tls.key"),
            clientCAFile: try folder.write(user.certificateChain, to: "clients.crt")
        )
        let server = try FakeHTTPServer(tls: tls) { _ in .text(#"{"gitVersion":"v1.34.0"}"#) }
        func data(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
        let path = try kubeconfig(
            cluster: "server: 'https://\(server.address)', certificate-authority-data: \(data(host.certificateChain))",
            user: "{client-certificate-data: \(data(user.certificateChain)), client-key-data: \(data(user.privateKey))}"
        )
        let http = HTTPClient()
        defer { http.shutdown() }
        let known = KubernetesClient(try access(["KUBECONFIG": path]), client: http)
        let body = try await known.call("GET", "/version", timeout: .seconds(100))
        #expect(String(decoding: body, as: UTF8.self).contains("v1.34.0"))

        let stranger = KubernetesClient(KubernetesAccess(server: "https://\(server.address)"), client: http)
        await #expect(throws: KubernetesError.self) { _ = try await stranger.call("GET", "/version") }
    }
}

@Suite("Label selectors")
struct LabelSelectorTests {
    private let labels = ["app": "vllm", "tier": "gold", "llm-d.ai/role": "decode"]

    @Test(
        "Selectors match as kubectl's do",
        arguments: [
            ("app=vllm", true), ("app==vllm", true), ("app = vllm , tier!=silver", true), ("app=sglang", false),
            ("app in (vllm, sglang)", true), ("app notin (vllm)", false), ("missing notin (a)", true),
            ("llm-d.ai/role", true), ("!missing", true), ("!app", false), ("missing", false), ("app!=vllm", false),
            ("app in (a,b),tier=gold", false), ("app=vllm,tier in (gold,silver),!x", true),
        ]
    )
    func matching(text: String, matches: Bool) throws {
        let selector = try LabelSelector(parsing: text)
        #expect(selector.matches(labels) == matches)
        // What the server is asked for means the same.
        #expect(try LabelSelector(parsing: selector.description).matches(labels) == matches)
    }

    @Test(
        "What is no selector is an error",
        arguments: ["", ",", "a b", "=x", "a=b=c", "a in b", "a in (b", "é=x", "/a=b"]
    )
    func malformed(text: String) {
        #expect(throws: LabelSelector.Malformed.self) { try LabelSelector(parsing: text) }
    }
}
