import Foundation
import TestSupport
import Testing

@Suite("Requests that Apus refuses", .serialized, .deployment(.init(apus: ["--max-request-body=100KiB"])), .showsLogs)
struct RefusalTests {
    @Test(
        "A bad request is answered 400 with the reference's text",
        arguments: [
            ("/v1/completions", #"{"model": "demo", "prompt": "x""#, "error unmarshaling request bodyMap: "),
            ("/v1/completions", " ", "error unmarshaling request bodyMap: "),
            ("/v1/completions", "\u{FEFF}{}", "error unmarshaling request bodyMap: "),
            ("/v1/completions", #"{"prompt": "x"}"#, "model not found in request body"),
            ("/v1/completions", #"{"model": 7, "prompt": "x"}"#, "model not found in request body"),
            ("/v1/completions", #"{"model": "demo"}"#, "invalid completions request: must have prompt field"),
            (
                "/v1/chat/completions?a=b", #"{"model": "demo"}"#,
                "invalid chat completions request: must have valid messages field"
            ),
            ("/v1/embeddings", #"{"model": "demo"}"#, "invalid embeddings request: must have input field"),
            ("/v1/responses", #"{"model": "demo"}"#, "invalid responses request: must have input field"),
            ("/v1/completions", #"{"model": "demo", "prompt": "x", "model": "demo"}"#, ""),
        ]
    )
    func badRequest(path: String, body: String, message: String) async throws {
        let deployment = try Deployment.ofSuite()
        let (id, response) = try await deployment.send(.post(path, json: body))
        #expect(response.status == 400)
        #expect(response.text.hasPrefix("inference error: BadRequest - \(message)"))
        let line = try await deployment.apus.accessLine(id)
        #expect(line["termination"].string == "immediate:400")
        #expect(line["status"].int == 400)
        await #expect(throws: TestFailure.self) { try await deployment.arrival(id) }
        try await deployment.apus.waitUntilIdle()
    }

    @Test("Invalid UTF-8 is answered 400")
    func invalidUTF8() async throws {
        let deployment = try Deployment.ofSuite()
        let body = Array(#"{"model": "demo", "prompt": ""#.utf8) + [0xFF, 0xC0, 0x80] + Array(#""}"#.utf8)
        let request = TestRequest("POST", "/v1/completions", body: .fixed(body))
        #expect(try await deployment.send(request).response.status == 400)
    }

    @Test("100,000 levels of JSON are answered, and the next request too", arguments: ["[", #"{"a":"#])
    func deepJSON(opening: String) async throws {
        let deployment = try Deployment.ofSuite()
        let closing = opening == "[" ? "]" : "}"
        let count = opening == "[" ? 40_000 : 15_000
        let deep = String(repeating: opening, count: count) + "1" + String(repeating: closing, count: count)
        let body = #"{"model": "demo", "prompt": "x", "deep": \#(deep)}"#
        let response = try await deployment.send(.post("/v1/completions", json: body)).response
        #expect([200, 400].contains(response.status))
        #expect(try await deployment.send(Ask.completion()).response.status == 200)
    }

    @Test("A body over the limit is answered 413, and one at the limit is served", arguments: [false, true])
    func tooLarge(chunked: Bool) async throws {
        let deployment = try Deployment.ofSuite()
        let limit = 100 << 10
        let shell = Ask.completionBody("").utf8.count
        for (count, status) in [(limit, 200), (limit + 1, 413), (5_000_000, 413)] {
            let body = Array(Ask.completionBody(String(repeating: "x", count: count - shell)).utf8)
            let request = TestRequest(
                "POST",
                "/v1/completions",
                headers: [("content-type", "application/json")],
                body: chunked ? .chunked([body]) : .fixed(body)
            )
            let (id, response) = try await deployment.send(request)
            #expect(response.status == status)
            if status == 413 {
                #expect(response.text == "inference error: PayloadTooLarge - request body exceeds \(limit) bytes")
                #expect(try await deployment.apus.accessLine(id)["termination"].string == "immediate:413")
            }
        }
        try await deployment.apus.waitUntilIdle()
    }
}

@Suite("Subsets of a gateway", .serialized, .showsLogs)
struct SubsetTests {
    /// Envoy's configuration with a filter that names a subset before Apus is asked.
    private static func plan(_ subset: @escaping @Sendable ([Int]) -> [String], apus: [String] = []) -> Deployment.Plan
    {
        var plan = Deployment.Plan(apus: apus)
        plan.envoy = { text, ports in
            let list = subset(ports).map { "\"\($0)\"" }.joined(separator: ", ")
            return text.replacing(
                "          http_filters:\n",
                with: """
                              http_filters:
                              - name: envoy.filters.http.set_metadata
                                typed_config:
                                  "@type": type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config
                                  metadata:
                                  - metadata_namespace: envoy.lb.subset_hint
                                    value: {x-gateway-destination-endpoint-subset: [\(list)]}

                    """
            )
        }
        return plan
    }

    private func ports(of deployment: Deployment, _ request: TestRequest, count: Int = 12) async throws -> Set<Int> {
        var ports: Set<Int> = []
        for _ in 0..<count {
            let (id, response) = try await deployment.send(request)
            #expect(response.status == 200)
            ports.formUnion(try await deployment.apus.picked(id))
        }
        return ports
    }

    @Test("Only endpoints of the subset are picked, for requests with and without a body")
    func subset() async throws {
        try await withDeployment(Self.plan { [" 127.0.0.1:\($0[2])", "10.0.0.1:80"] }) { deployment in
            try await deployment.apus.waitUntilFresh()
            let port = deployment.servers[2].port
            #expect(try await ports(of: deployment, Ask.completion()) == [port])
            #expect(try await ports(of: deployment, TestRequest("GET", "/v1/models")) == [port])
        }
    }

    @Test("A bare address stands for all its ports")
    func bareAddress() async throws {
        try await withDeployment(Self.plan { _ in ["127.0.0.1"] }) { deployment in
            try await deployment.apus.waitUntilFresh()
            #expect(try await ports(of: deployment, TestRequest("GET", "/v1/models"), count: 60).count == 3)
        }
    }

    @Test(
        "A subset without any endpoint of the pool, or an empty one, is answered 503",
        arguments: [[], ["10.0.0.1:80"]]
    )
    func nobody(subset: [String]) async throws {
        try await withDeployment(Self.plan { _ in subset }) { deployment in
            for request in [Ask.completion(), TestRequest("GET", "/v1/models")] {
                let (_, response) = try await deployment.send(request)
                #expect(response.status == 503)
                #expect(
                    response.text == "inference error: ServiceUnavailable - "
                        + "failed to find endpoint candidates for serving the request"
                )
                #expect(response["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints")
            }
        }
    }

    @Test("--disable-endpoint-subset-filter ignores the subset")
    func disabled() async throws {
        let plan = Self.plan({ _ in ["10.0.0.1:80"] }, apus: ["--disable-endpoint-subset-filter"])
        try await withDeployment(plan) { deployment in
            let (_, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 200)
        }
    }
}
