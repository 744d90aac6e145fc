import TestSupport
import Testing

@Suite("A client that leaves, wherever its request has come to", .serialized, .showsLogs)
struct OrchestrationClientTests {
    private static let image = #"{"type": "image_url", "image_url": {"url": "http://images.test/a.png"}}"#

    private static func request(stream: Bool) -> TestRequest {
        let text = #"{"type": "text", "text": "What is this?"}"#
        let body =
            #"{"model": "\#(Simulators.model)", "messages": [{"role": "user", "content": [\#(text), \#(image)]}], "#
            + #""max_tokens": 20, "ignore_eos": true, "stream": \#(stream)}"#
        return .post("/v1/chat/completions", json: body)
    }

    private static func plan(_ connector: Disaggregated.Connector, _ mode: Disaggregated.Mode) -> Disaggregated.Plan {
        var plan = Disaggregated.Plan(connector, mode).withoutBreakers()
        plan.encodes = 1
        plan.prefills = 2
        plan.orchestration += ["encodeConnector: ec-nixl"]
        plan.simulator = ["--ec-connector", "nixl"]
        return plan
    }

    @Test(
        "Engines see that the client has left during a leg, and nothing is kept for it",
        arguments: [Disaggregated.Connector.nixlv2, .sglang, .trtllm],
        Disaggregated.Mode.allCases
    )
    func leaves(_ connector: Disaggregated.Connector, _ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Self.plan(connector, mode)) { deployment in
            for leg in ["encode", "prefill", "decode"] {
                for stream in [false, true] {
                    let seen = Comment(rawValue: "during \(leg), \(stream ? "streaming" : "plain")")
                    let (id, socket) = try await deployment.begin(Self.request(stream: stream), fault: "\(leg)-hang")
                    try await eventually("the \(leg) hangs") {
                        try await deployment.legs(of: leg == "encode" ? id + "-enc-0" : id).contains {
                            $0.kind == leg && $0.status == "hanging"
                        }
                    }
                    socket.hangUp()
                    try await eventually("the engine sees that the client of a hanging \(leg) has left") {
                        try await deployment.legs(of: leg == "encode" ? id + "-enc-0" : id).contains {
                            $0.kind == leg && $0.isDisconnected
                        }
                    }
                    try await deployment.waitUntilIdle()
                    let legs = try await deployment.legs(of: id)
                    if leg == "encode" { #expect(legs.isEmpty, seen) }
                    let line = try await deployment.apus.accessLine(id)
                    #expect(
                        line["legs"].array.contains { $0["leg"].string == leg && $0["outcome"].string == "cancelled" },
                        "\(seen): \(line)"
                    )
                }
            }
        }
    }

    @Test("A client that leaves during the answer ends the decode", arguments: Disaggregated.Mode.allCases)
    func leavesStream(_ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Self.plan(.nixlv2, mode)) { deployment in
            let (id, exchange) = try await deployment.open(
                Self.request(stream: true),
                fault: "decode-hang-body,tokens=3"
            )
            #expect(exchange.status == 200)
            _ = try await exchange.nextEvent()
            exchange.hangUp()
            try await eventually("the engine sees that the client has left") {
                try await deployment.legs(of: id).contains { $0.kind == "decode" && $0.isDisconnected }
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "Clients that leave at any moment leave nothing behind",
        arguments: [Disaggregated.Connector.nixlv2, .sglang],
        Disaggregated.Mode.allCases
    )
    func leaveAnywhere(_ connector: Disaggregated.Connector, _ mode: Disaggregated.Mode) async throws {
        var plan = Self.plan(connector, mode)
        plan.simulator += ["--time-to-first-token", "3ms", "--inter-token-latency", "1ms"]
        try await withDisaggregated(plan) { deployment in
            // Of so many requests each leaves a little later than the one before, so that some leave between any two legs.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<64 {
                    group.addTask {
                        let request = Self.request(stream: number % 2 == 0)
                        let (_, socket) = try await deployment.begin(request, fault: "encode-503=0")
                        for _ in 0..<number { _ = try await deployment.counter("request", server: 0) }
                        socket.hangUp()
                    }
                    if number % 8 == 7 { try await group.waitForAll() }
                }
                try await group.waitForAll()
            }
            try await deployment.waitUntilIdle()
            let (_, response) = try await deployment.send(Self.request(stream: false))
            #expect(response.status == 200)
        }
    }
}
