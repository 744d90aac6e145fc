import TestSupport
import Testing

@Suite("What may go wrong with a decode, with every connector, in both modes", .serialized, .showsLogs)
struct OrchestrationDecodeTests {
    private static let early = ["500", "503", "429", "close", "reset", "garbage", "endless-headers"]
    private static let late = ["cut", "eof-body", "reset-body"]

    private static func request(stream: Bool) -> TestRequest {
        stream ? Ask.chat("Tell me more", stream: true) : Ask.completion("Tell me more")
    }

    @Test(
        "A decode that fails before its answer begins is run again elsewhere, with what a new prefill left",
        arguments: OrchestrationMatrixTests.Way.all
    )
    func failsEarly(_ way: OrchestrationMatrixTests.Way) async throws {
        let plan = Disaggregated.Plan(way.connector, way.mode).withoutBreakers()
        try await withDisaggregated(plan) { deployment in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for fault in Self.early {
                    for stream in [false, true] {
                        group.addTask { try await Self.rescues(fault, stream: stream, deployment) }
                    }
                }
                try await group.waitForAll()
            }
            try await deployment.waitUntilIdle()
            for counter in ["partial_params", "altered", "transfer_failed", "local_fallback"] {
                #expect(try await deployment.counter(counter) == 0, "\(counter)")
            }
            let rescued = way.mode == .handoff ? 2 * Self.early.count : 0
            #expect(try await deployment.event("rescued") == rescued)
        }
    }

    private static func rescues(_ fault: String, stream: Bool, _ deployment: Disaggregated) async throws {
        let (id, response) = try await deployment.send(
            request(stream: stream),
            fault: "\(deployment.plan.connector.decodeKind)-\(fault),attempt=1"
        )
        let legs = try await deployment.legs(of: id)
        let seen = Comment(
            rawValue:
                "\(fault), \(stream ? "streaming" : "plain"): \(response.status) \(response.text.prefix(300)); \(legs)"
        )
        #expect(response.status == 200, seen)
        #expect(try response.usage["completion_tokens"].int == 5, seen)
        // The second decode needs parameters that no other has seen.
        #expect(response["x-apus-attempts"] == "2", seen)
        #expect(legs.filter { $0.kind == "prefill" }.map(\.attempt).sorted() == [1, 2], seen)
        let decodes = SimulatedLeg.withoutResent(legs.filter { $0.kind != "prefill" })
        #expect(decodes.map(\.attempt) == [1, 2], seen)
        #expect(Set(decodes.map(\.server)).count == 2, seen)
        #expect(decodes.last?.status == "finished", seen)
    }

    @Test(
        "An answer that breaks off after its first byte reaches its client broken, and is not run again",
        arguments: Disaggregated.Mode.allCases
    )
    func failsLate(_ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Disaggregated.Plan(.nixlv2, mode).withoutBreakers()) { deployment in
            for fault in Self.late {
                for stream in [false, true] where stream || fault != "cut" {
                    // Long enough for more than one piece.
                    let ask =
                        stream ? Ask.chat("Tell me", stream: true, tokens: 50) : Ask.completion("Tell me", tokens: 200)
                    let named = Disaggregated.named(ask, "decode-\(fault),tokens=3")
                    do {
                        let response = try await deployment.client.send(named.request)
                        // Envoy answers itself when it has not passed anything on.
                        #expect(response.status >= 500, "\(fault): \(response.text.prefix(500))")
                    } catch is TestFailure {}
                    let legs = try await deployment.legs(of: named.id)
                    #expect(legs.filter { $0.kind == "decode" }.count == 1, "\(legs)")
                    let line = try await deployment.apus.accessLine(named.id)
                    #expect(line["legs"].array.last?["outcome"].string != "ok", "\(fault) \(stream): \(line)")
                }
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test("What a decode that could not be reached did not see is given to the next")
    func unreachableDecode() async throws {
        var plan = Disaggregated.Plan(.nixlv2, .relay)
        plan.orchestration += ["breaker: {failures: 1000}"]
        // As long as Apus has not found out, it sends decodes there.
        plan.apus = ["--refresh-metrics-interval=1h", "--metrics-staleness-threshold=2h"]
        try await withDisaggregated(plan) { deployment in
            try await deployment.control("POST", "/sim/stop?server=\(deployment.decodes.lowerBound)")
            for number in 0..<6 {
                let (id, response) = try await deployment.send(Self.request(stream: number % 2 == 1))
                #expect(response.status == 200)
                #expect(response["x-apus-attempts"] == "1")
                let legs = try await deployment.legs(of: id)
                #expect(legs.map(\.kind) == ["prefill", "decode"], "\(legs)")
            }
            try await deployment.waitUntilIdle()
            let failed = try await deployment.apus.metrics().filter {
                $0.key.hasPrefix("apus_legs_total") && $0.key.contains("connect_failed")
            }
            #expect(!failed.isEmpty)
        }
    }

    @Test("A hanging decode that is relayed ends with the request's deadline", arguments: [false, true])
    func deadline(stream: Bool) async throws {
        var plan = Disaggregated.Plan(.nixlv2, .relay)
        plan.orchestration += ["deadline: 1s", "attemptTimeout: 1s"]
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Self.request(stream: stream), fault: "decode-hang")
            #expect(response.status == 504)
            #expect(response.text.contains("GatewayTimeout"))
            let legs = try await deployment.legs(of: id)
            for server in Set(legs.filter { $0.kind == "decode" }.map(\.server)) {
                try await deployment.wait("disconnect", server: server)
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "A plain decode that stays silent after it was handed off, or after its head, is run again and answered whole",
        arguments: ["decode-hang,attempt=1", "decode-hang-body,attempt=1,tokens=0"]
    )
    func watchdog(fault: String) async throws {
        var plan = Disaggregated.Plan(.nixlv2, .handoff).withoutBreakers()
        plan.orchestration += ["decodeTimeout: 1s"]
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion("Tell me"), fault: fault)
            let legs = try await deployment.legs(of: id)
            #expect(response.status == 200, "\(legs)")
            #expect(try response.usage["completion_tokens"].int == 5)
            #expect(response["content-length"] != nil)
            #expect(try await deployment.event("rescued") == 1)
            let decodes = legs.filter { $0.kind == "decode" }
            #expect(decodes.map(\.attempt) == [1, 2], "\(legs)")
            if let silent = decodes.first {
                // Envoy lets go of the first.
                try await deployment.wait("disconnect", server: silent.server)
            }
            try await deployment.waitUntilIdle()
            #expect(try await deployment.counter("transfer_failed") == 0)
        }
    }
}
