import Certificates
import Foundation
import TestSupport
import Testing

@Suite("How Apus starts")
struct StartTests {
    private static let one = "--endpoints=127.0.0.1:1"
    private static let plain = ["--secure-serving=false", "--bind-address=127.0.0.1"]
    private static let ports = ["--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0"]

    @Test(
        "Arguments that cannot be used are refused, with a line that helps",
        arguments: [
            (plain + [one, "--grpc-prot=1"], "unknown flag --grpc-prot; did you mean \"grpc-port\"?", 2),
            (plain + [one, "--grpc-port=70000"], "--grpc-port=70000: expected a number from 0 to 65535", 2),
            (plain + [one, "--refresh-metrics-interval=fast"], "expected a duration", 2),
            (plain + [one, "--drain-timeout"], "--drain-timeout needs a value", 2),
            (plain + [one, "word"], "unexpected argument \"word\"", 2),
            (plain, "no endpoints", 1),
            (plain + [one, "--bind-address=foo"], "--bind-address must be an IP address, not \"foo\"", 1),
            (plain + ["--endpoints=nonsense"], "--endpoints", 1),
            (plain + ["--pool-name=pool"], "no Kubernetes API", 1),
            (plain + [one, "--config-file=/a", "--config-text=b"], "exclude each other", 1),
            (plain + [one, "--config-file=/nonexistent/file"], "/nonexistent/file", 1),
            (["sevre"], "did you mean \"serve\"", 2),
            (["check"], "usage: apus check FILE", 2),
        ]
    )
    func refused(arguments: [String], line: String, status: Int32) async throws {
        let result = try await Apus.run(arguments)
        #expect(result.status == .exited(status))
        #expect(result.output.contains(line), "\(result.output)")
        #expect(result.output.hasPrefix("apus: ") || result.output.contains("\napus: "))
    }

    @Test("Two sources of endpoints exclude each other")
    func twoSources() async throws {
        let text = """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins: [{type: file-discovery, parameters: {path: /tmp/none.yaml}}]
            dataLayer: {discovery: {pluginRef: file-discovery}}
            """
        let result = try await Apus.run(Self.plain + Self.ports + [Self.one, "--config-text=\(text)"])
        #expect(result.status == .exited(1))
        #expect(result.output.contains("exclude each other"), "\(result.output)")
    }

    @Test(
        "A port that is taken is an error that names it",
        arguments: ["grpc-port", "grpc-health-port", "metrics-port"]
    )
    func portInUse(flag: String) async throws {
        let other = try Socket.listen()
        let ports = Self.ports.filter { !$0.hasPrefix("--\(flag)=") } + ["--\(flag)=\(other.port)"]
        let result = try await Apus.run(Self.plain + ports + [Self.one])
        #expect(result.status == .exited(1))
        #expect(result.output.contains(":\(other.port)"), "\(result.output)")
    }

    @Test("A bad configuration is refused with every problem at its line and column")
    func badConfiguration() async throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write(
            """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - type: queue-scorer
            - type: quue-scorer
              name: second
            schedulingProfiles:
            - name: default
              plugins:
              - pluginRef: queue-scorer
                wieght: 2
            """,
            to: "bad.yaml"
        )
        let expected = ["\(file):5:9: error: ", "queue-scorer", "\(file):11:5: error: ", "weight"]
        let served = try await Apus.run(Self.plain + Self.ports + [Self.one, "--config-file=\(file)"])
        #expect(served.status == .exited(1))
        let checked = try await Apus.run(["check", file])
        #expect(checked.status == .exited(1))
        for part in expected {
            #expect(served.output.contains(part), "\(served.output)")
            #expect(checked.output.contains(part), "\(checked.output)")
        }
    }

    @Test("apus check says ok, and warnings do not make it fail")
    func check() async throws {
        let directory = try TemporaryDirectory()
        let head = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
        let good = try directory.write(head + "plugins: [{type: queue-scorer}]\n", to: "good.yaml")
        let ok = try await Apus.run(["check", good])
        #expect(ok.status == .exited(0))
        #expect(ok.output == "\(good): ok\n")
        let odd = try directory.write(
            head + "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: 0}}]\n",
            to: "odd.yaml"
        )
        let warned = try await Apus.run(["check", odd])
        #expect(warned.status == .exited(0))
        #expect(warned.output.contains("\(odd):3:68: warning: "), "\(warned.output)")
    }

    @Test("apus version and --help tell")
    func tells() async throws {
        let version = try await Apus.run(["version"])
        #expect(version.status == .exited(0))
        #expect(version.output.hasPrefix("apus "))
        for arguments in [["help"], ["--help"], ["serve", "-h"]] {
            let help = try await Apus.run(arguments)
            #expect(help.status == .exited(0))
            #expect(help.output.contains("--endpoints"))
        }
    }

    @Test("Endpoints are scraped over TLS where a flag says so, and whose certificate is checked must be trusted")
    func scrapedOverTLS() async throws {
        let directory = try TemporaryDirectory()
        let pair = try KeyPair.selfSigned(names: [], addresses: ["127.0.0.1"])
        let tls = try ServerTLS(
            certificateFile: directory.write(pair.certificateChain, to: "tls.crt"),
            keyFile: directory.write(pair.privateKey, to: "tls.key")
        )
        let server = try FakeHTTPServer(tls: tls) { _ in .text("vllm:num_requests_waiting 3\n") }
        let arguments = ["--endpoints=\(server.address)", "--model-server-metrics-scheme=https"]
        let apus = try await Apus(arguments)
        await server.events.wait { $0.contains(.request(connection: 1, path: "/metrics")) }
        #expect(try await apus.process.terminate() == .exited(0))
        let strict = try await Apus(arguments + ["--model-server-metrics-https-insecure-skip-verify=false"])
        let line = try await strict.process.waitForLine(containing: "endpoint cannot be scraped")
        #expect(line.contains("untrusted"), "\(line)")
        #expect(try await strict.process.terminate() == .exited(0))
    }

    @Test("Flags without effect are taken, each with a line that says so")
    func withoutEffect() async throws {
        let apus = try await Apus(["--endpoints=127.0.0.1:1", "--enable-pprof", "--zap-log-level", "info", "--v", "2"])
        #expect(apus.process.output.contains("--enable-pprof has no effect"))
        #expect(apus.process.output.contains("--zap-log-level has no effect"))
        #expect(try await apus.process.terminate() == .exited(0))
    }
}

@Suite("What Apus tells on its other ports", .serialized, .deployment(.init(apus: ["--health-checking"])), .showsLogs)
struct PageTests {
    @Test("Both families of metrics are there and move")
    func metrics() async throws {
        let deployment = try Deployment.ofSuite()
        let apus = deployment.apus
        func sum(_ name: String) async throws -> Double { try await apus.metric(name) ?? 0 }
        let names = [
            "llm_d_epp_request_total", "inference_objective_request_total", "llm_d_epp_request_duration_seconds_count",
            "inference_objective_request_duration_seconds_count", "llm_d_epp_request_output_tokens_sum",
            "inference_objective_output_tokens_sum", "apus_decision_seconds_count", "apus_scrape_total",
        ]
        var before: [String: Double] = [:]
        for name in names { before[name] = try await sum(name) }
        #expect(try await deployment.send(Ask.completion()).response.status == 200)
        try await apus.waitUntilFresh()
        for name in names {
            #expect(try await sum(name) > before[name] ?? 0, "\(name)")
        }
        #expect(try await sum("inference_pool_ready_pods") == 3)
        #expect(try await sum("apus_streams_active") == 0)
        let page = try await apus.page("/metrics")
        #expect(page["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
        for line in page.text.split(separator: "\n") where !line.hasPrefix("#") {
            #expect(line.split(separator: " ").last.flatMap { Double($0) } != nil, "\(line)")
        }
    }

    @Test("Health and readiness pages are answered, unknown pages and methods refused")
    func pages() async throws {
        let apus = try Deployment.ofSuite().apus
        for path in ["/healthz", "/readyz"] {
            let page = try await apus.page(path)
            #expect(page.status == 200)
            #expect(page.text == "ok\n")
        }
        #expect(try await apus.page("/nothing").status == 404)
        let client = HTTPTestClient(port: apus.metricsPort)
        #expect(try await client.send(.post("/metrics", json: "{}")).status == 405)
        let configuration = try await JSON(text: apus.page("/debug/config").text)
        let scorers = configuration["schedulingProfiles"][0]["scorers"].array
        #expect(
            scorers.map { "\($0["name"].string ?? "") \($0["weight"].int ?? 0)" } == ["prefill-cost-scorer 1"]
        )
    }

    @Test("The endpoints are told with what was scraped of them")
    func endpoints() async throws {
        let deployment = try Deployment.ofSuite()
        try await deployment.apus.waitUntilFresh()
        let endpoints = try await deployment.apus.endpoints()
        #expect(endpoints.keys.sorted() == deployment.servers.map(\.port).sorted())
        for endpoint in endpoints.values {
            #expect(endpoint["address"].string == "127.0.0.1")
            #expect(endpoint["fresh"].bool == true)
            #expect(try #require(endpoint["scrape"]["ageSeconds"].double) < 2)
            #expect(endpoint["scrape"]["failures"].int == 0)
            #expect(endpoint["metrics"]["cacheBlockSize"].int == 16)
            #expect(endpoint["breaker"].string == "closed")
        }
    }

    @Test("gRPC health answers on its own port, and on the ext_proc port when the flag says so")
    func health() async throws {
        let apus = try Deployment.ofSuite().apus
        for port in [apus.healthPort, apus.externalProcessorPort] {
            for service in ["", "liveness", "readiness", "anything", Health.externalProcessor] {
                #expect(await Health.check(port, service) == Health.serving)
            }
        }
        let without = try await Apus(["--endpoints=127.0.0.1:1"])
        #expect(await Health.check(without.healthPort) == Health.serving)
        #expect(await Health.check(without.externalProcessorPort) == nil)
        #expect(try await without.process.terminate() == .exited(0))
    }
}
