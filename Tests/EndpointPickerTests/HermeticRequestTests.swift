import EndpointPicker
import Inference
import TestSupport
import Testing

/// The reference's hermetic cases for the request phase, but for those that need Kubernetes objects.
@Suite struct HermeticRequestTests {
    /// One case: who is asked for what, who is there, and who must get it.
    struct Case: CustomTestStringConvertible, Sendable {
        var name: String
        var model: String
        var target: String
        var pods: [Pod]
        var winner: String
        var subset: [String]?

        var testDescription: String { name }
    }

    static let cases = [
        Case(
            name: "select lower queue and kv cache",
            model: "my-model",
            target: "my-model-12345",
            pods: [Pod(0, 3, 0.2), Pod(1, 0, 0.1), Pod(2, 10, 0.2)],
            winner: "192.168.1.2:8000"
        ),
        Case(
            name: "select active lora, low queue",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [
                Pod(0, 0, 0.2, "foo", "bar"), Pod(1, 0, 0.1, "foo", "sql-lora-1fdg2"), Pod(2, 10, 0.2, "foo", "bar"),
            ],
            winner: "192.168.1.2:8000"
        ),
        Case(
            name: "select lora despite higher kv cache",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [
                Pod(0, 10, 0.2, "foo", "bar"), Pod(1, 10, 0.4, "foo", "sql-lora-1fdg2"), Pod(2, 10, 0.3, "foo"),
            ],
            winner: "192.168.1.2:8000"
        ),
        Case(
            name: "do not shed requests by default",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [Pod(0, 6, 0.2, "foo", "bar", "sql-lora-1fdg2"), Pod(1, 0, 0.85, "foo"), Pod(2, 10, 0.9, "foo")],
            winner: "192.168.1.1:8000"
        ),
        Case(
            name: "subsetting: best from the subset",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [Pod(0, 0, 0.2, "foo"), Pod(1, 0, 0.1, "foo", "sql-lora-1fdg2"), Pod(2, 10, 0.2, "foo")],
            winner: "192.168.1.2:8000",
            subset: ["192.168.1.1:8000", "192.168.1.2:8000", "192.168.1.3:8000"]
        ),
        Case(
            name: "subsetting: partial match",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [Pod(0, 0, 0.2, "foo"), Pod(1, 0, 0.1, "foo", "sql-lora-1fdg2"), Pod(2, 10, 0.2, "foo")],
            winner: "192.168.1.3:8000",
            subset: ["192.168.1.3:8000"]
        ),
        Case(
            name: "subsetting: a bare address matches too",
            model: "sql-lora",
            target: "sql-lora-1fdg2",
            pods: [Pod(0, 0, 0.2, "foo"), Pod(1, 0, 0.1, "foo", "sql-lora-1fdg2")],
            winner: "192.168.1.1:8000",
            subset: ["192.168.1.1"]
        ),
    ]

    @Test(
        "A request goes to the reference's winner, with the model replaced in the client's own bytes",
        arguments: cases
    )
    func route(_ test: Case) async throws {
        try await withPicker(test.pods) { picker in
            let replies = try await picker.exchange(
                llmRequest("test", model: test.model, target: test.target, subset: test.subset),
                replies: 2
            )
            #expect(replies == routed(to: test.winner, body: completion("test", model: test.target)))
            #expect(
                picker.metrics.contains(
                    #"inference_objective_request_total{model_name="\#(test.model)",priority="0",target_model_name="\#(test.target)"} 1"#
                )
            )
        }
    }

    @Test("A body split inside the model's name is read as one")
    func splitBody() async throws {
        try await withPicker([Pod(0, 4, 0.2, "foo", "bar", "sql-lora-1fdg3"), Pod(1, 4, 0.85, "foo", "sql-lora-1fdg3")])
        {
            picker in
            let body = completion("test6", model: "sql-lora-sheddable")
            let cut = body.index(body.startIndex, offsetBy: 30)
            let replies = try await picker.exchange(
                [
                    .requestHeaders([
                        ("hi", "mom"), ("x-request-id", "test-request-id"),
                        ("x-gateway-inference-objective", "sql-lora-sheddable"),
                        ("x-gateway-model-name-rewrite", "sql-lora-1fdg3"),
                    ]),
                    .requestBody(String(body[..<cut])),
                    .requestBody(String(body[cut...]), endOfStream: true),
                ],
                replies: 2
            )
            #expect(
                replies == routed(to: "192.168.1.1:8000", body: completion("test6", model: "sql-lora-1fdg3"))
            )
        }
    }

    @Test("A model that no objective names is passed through")
    func passthroughModel() async throws {
        try await withPicker([Pod(0, 4, 0.2, "foo", "bar", "sql-lora-1fdg3"), Pod(1, 4, 0.85, "foo", "sql-lora-1fdg3")])
        {
            picker in
            let replies = try await picker.exchange(
                llmRequest("test6", model: "direct-model", target: "direct-model"),
                replies: 2
            )
            #expect(
                replies
                    == routed(
                        to: "192.168.1.1:8000",
                        body: completion("test6", model: "direct-model"),
                        contentLength: false
                    )
            )
        }
    }

    @Test("The passthrough parser picks without reading the body, and its metrics have empty model labels")
    func passthroughParser() async throws {
        let settings = DirectorSettings(
            parsers: ParserSelection([PassthroughParser()]),
            honorsSubset: true,
            emitsScores: false
        )
        try await withPicker([Pod(0, 3, 0.2), Pod(1, 0, 0.1), Pod(2, 10, 0.2)], settings: settings) { picker in
            let replies = try await picker.exchange(
                [
                    .requestHeaders([
                        ("hi", "mom"), ("x-request-id", "test-request-id"),
                        ("x-gateway-inference-objective", "my-model"),
                    ]),
                    .requestBody("passthrough-parser", endOfStream: true),
                ],
                replies: 2
            )
            #expect(replies == routed(to: "192.168.1.2:8000", body: "passthrough-parser", contentLength: false))
            #expect(
                picker.metrics.contains(
                    #"inference_objective_request_total{model_name="",priority="0",target_model_name=""} 1"#
                )
            )
        }
    }

    @Test("A body that is no JSON is the client's fault")
    func invalidJSON() async throws {
        try await withPicker([Pod(0, 0, 0.2, "foo", "bar")]) { picker in
            let replies = try await picker.exchange(
                [.requestHeaders([("hi", "mom")]), .requestBody("no healthy upstream", endOfStream: true)],
                replies: 1
            )
            let reply = try #require(replies.first)
            #expect(reply.status == 400)
            #expect(reply.bodyText.hasPrefix("inference error: BadRequest - error unmarshaling request bodyMap: "))
        }
    }

    @Test("A body without a model is the client's fault")
    func missingModel() async throws {
        try await withPicker([]) { picker in
            let replies = try await picker.exchange(
                [
                    .requestHeaders([("content-type", "application/json")]),
                    .requestBody(#"{"prompt":"hello world"}"#, endOfStream: true),
                ],
                replies: 1
            )
            #expect(replies == [immediate(400, "inference error: BadRequest - model not found in request body")])
        }
    }

    @Test("A subset that matches nobody leaves no endpoint")
    func emptySubset() async throws {
        try await withPicker([Pod(0, 0, 0.2, "foo"), Pod(1, 0, 0.1, "foo")]) { picker in
            let replies = try await picker.exchange(
                llmRequest("test2", model: "sql-lora", target: "sql-lora-1fdg2", subset: ["192.168.1.99:8000"]),
                replies: 1
            )
            #expect(replies == [noEndpoints])
        }
    }

    @Test("Without endpoints a request that ends with its headers gets 503")
    func headersOnlyWithoutEndpoints() async throws {
        try await withPicker([]) { picker in
            let replies = try await picker.exchange(
                [.requestHeaders([("content-type", "application/json")], endOfStream: true)],
                replies: 1
            )
            #expect(replies == [noEndpoints])
        }
    }

    @Test("A simple GET gets an endpoint, and obeys the subset")
    func headersOnly() async throws {
        try await withPicker([Pod(0, 0, 0, "foo"), Pod(1, 0, 0, "foo")]) { picker in
            let get = EnvoyFrame.requestHeaders(
                [(":method", "GET"), (":path", "/v1/models"), ("x-request-id", "1")],
                endOfStream: true
            )
            for _ in 0..<8 {
                let replies = try await picker.exchange([get.with(subset: ["192.168.1.2:8000"])], replies: 1)
                #expect(replies == Array(routed(to: "192.168.1.2:8000", body: "", contentLength: false).prefix(1)))
            }
            let outside = try await picker.exchange([get.with(subset: [])], replies: 1)
            #expect(outside == [noEndpoints])
        }
    }

    private var noEndpoints: EnvoyReply {
        immediate(
            503,
            "inference error: ServiceUnavailable - failed to find endpoint candidates for serving the request",
            reason: "rejected-no-endpoints"
        )
    }
}
