import Foundation
import TestSupport
import Testing

@Suite("A token-producer that asks a server", .serialized, .showsLogs)
struct TokenTests {
    @Test(
        "What the server renders is the load, over http and https; without it requests go on by the estimate",
        arguments: [false, true]
    )
    func rendered(isSecure: Bool) async throws {
        let files = try TLSFiles()
        let pair = try TLSFiles.serverPair()
        try files.write(certificateOf: pair)
        try files.write(keyOf: pair)
        let certificate = "\(files.directory.path)/tls.crt"
        let tls = try ServerTLS(certificateFile: certificate, keyFile: "\(files.directory.path)/tls.key")
        let ids = (0..<777).map { "\($0)" }.joined(separator: ",")
        let renderer = try FakeHTTPServer(tls: isSecure ? tls : nil) { _ in .text("[{\"token_ids\":[\(ids)]}]") }
        let address = isSecure ? "https://127.0.0.1:\(renderer.port)" : "http://127.0.0.1:\(renderer.port)"
        let trust = isSecure ? ", caCertPath: \"\(certificate)\"" : ""
        var plan = Deployment.Plan(servers: 1)
        plan.apus = [
            """
            --config-text=apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - {type: token-load-scorer}
            - {type: token-producer, parameters: {backend: vllm, vllm: {url: "\(address)"\(trust)}}}
            """
        ]
        try await withDeployment(plan) { deployment in
            try await deployment.servers[0].configure(#"{"hang": true}"#)
            let body = Ask.completionBody("a few words")
            let socket = try await Socket.connect(port: deployment.client.port)
            let head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
            try await socket.write((head + "content-length: \(body.utf8.count)\r\n\r\n" + body).utf8)
            try await eventually("the tokens are in flight") { try await deployment.apus.tokensInFlight() == 777 }
            socket.hangUp()
            try await deployment.apus.waitUntilIdle()
            try await deployment.servers[0].configure(#"{"hang": false}"#)
            renderer.stop()
            let status = try await deployment.client.send(Ask.completion()).status
            #expect(status == 200)
            let page = try await deployment.apus.metrics()
            #expect(page[#"apus_token_renders_total{outcome="ok"}"#] == 1)
            #expect(page[#"apus_token_renders_total{outcome="error"}"#] == 1)
        }
    }
}
