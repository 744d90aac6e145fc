import TestSupport
import Testing

@Suite("What the section orchestration promises", .serialized, .showsLogs)
struct OrchestrationPolicyTests {
    typealias Plan = Disaggregated.Plan

    // MARK: Nobody can

    @Test("When every prefill has failed the client is told where and how", arguments: Disaggregated.Mode.allCases)
    func exhaustedFails(_ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Plan(.nixlv2, mode).withoutBreakers()) { deployment in
            let (id, response) = try await deployment.send(Ask.completion(), fault: "prefill-503")
            #expect(response.status == 503)
            #expect(response["x-apus-attempts"] == "3")
            #expect(response["retry-after"] == "1")
            for server in deployment.prefills {
                #expect(response.text.contains("\(deployment.addresses[server])"), "\(response.text)")
            }
            #expect(response.text.contains("http_503"))
            #expect(try await deployment.legs(of: id).map(\.kind) == ["prefill", "prefill", "prefill"])
            #expect(try await deployment.event("exhausted") == 1)

            let (other, twice) = try await deployment.send(Ask.completion(), fault: "prefill-500")
            #expect(twice.status == 503)
            #expect(try await deployment.legs(of: other).count == 2, "a second 500 is the last")
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "Where the configuration allows it the decode endpoint does it all",
        // A decode server of SGLang computes no prompts.
        arguments: Disaggregated.Connector.allCases.filter { $0 != .sglang },
        Disaggregated.Mode.allCases
    )
    func decodesLocally(_ connector: Disaggregated.Connector, _ mode: Disaggregated.Mode) async throws {
        var plan = Plan(connector, mode).withoutBreakers()
        plan.orchestration += ["onExhausted: decode-local"]
        try await withDisaggregated(plan) { deployment in
            for stream in [false, true] {
                let (id, response) = try await deployment.send(Ask.completion(stream: stream), fault: "prefill-503")
                let legs = try await deployment.legs(of: id)
                #expect(response.status == 200, "\(response.text) \(legs)")
                #expect(response["x-apus-attempts"] == "3")
                #expect(try response.usage["completion_tokens"].int == 5)
                let last = try #require(legs.last)
                #expect(deployment.decodes.contains(last.server))
                #expect(last.status == "finished")
            }
            #expect(try await deployment.event("decoded_locally") == 2)
            #expect(try await deployment.event("exhausted") == 0)
            #expect(try await deployment.counter("partial_params") == 0)
        }
    }

    @Test(
        "A pool without a prefill endpoint is exhausted from the start",
        arguments: Disaggregated.Mode.allCases,
        ["fail", "decode-local"]
    )
    func noPrefill(_ mode: Disaggregated.Mode, _ policy: String) async throws {
        var plan = Plan(.nixlv2, mode)
        plan.prefills = 0
        plan.orchestration += ["onExhausted: \(policy)"]
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion())
            #expect(response.status == (policy == "fail" ? 503 : 200), "\(response.text)")
            #expect(try await deployment.legs(of: id).count == (policy == "fail" ? 0 : 1))
            if policy == "decode-local" { #expect(try await deployment.event("decoded_locally") == 1) }
            try await deployment.waitUntilIdle()
        }
    }

    @Test("The deadline of all sub-requests ends the request with 504, whatever else is configured")
    func deadline() async throws {
        var plan = Plan().withoutBreakers()
        plan.orchestration += ["deadline: 1s", "attemptTimeout: 600ms", "onExhausted: decode-local"]
        try await withDisaggregated(plan) { deployment in
            let (id, response) = try await deployment.send(Ask.completion(), fault: "prefill-hang")
            #expect(response.status == 504, "\(response.text)")
            // The last may have begun a moment before the end.
            #expect(["2", "3"].contains(response["x-apus-attempts"]))
            let legs = try await deployment.legs(of: id)
            #expect(legs.allSatisfy { $0.kind == "prefill" }, "\(legs)")
            try await deployment.waitUntilIdle()
        }
    }

    // MARK: Breakers and permits

    @Test("An endpoint that refuses is left out for a while, then tried by one request, then used again")
    func breaker() async throws {
        var plan = Plan()
        plan.prefills = 2
        plan.orchestration += ["breaker: {failures: 2, openFor: 2s}"]
        plan.apus = ["--refresh-metrics-interval=1h", "--metrics-staleness-threshold=2h"]
        try await withDisaggregated(plan) { deployment in
            let dead = deployment.prefills.lowerBound
            func breaker() async throws -> String? { try await deployment.endpoints()[dead]["breaker"].string }
            #expect(try await breaker() == "closed")
            try await deployment.control("POST", "/sim/stop?server=\(dead)")
            try await eventually("the breaker is open") {
                #expect(try await deployment.send(Ask.completion()).response.status == 200)
                return try await breaker() == "open"
            }
            try await eventually("the breaker is half open") { try await breaker() == "half-open" }
            // The one that tries finds it dead still; another endpoint serves it.
            try await eventually("the breaker is open again") {
                #expect(try await deployment.send(Ask.completion()).response.status == 200)
                return try await breaker() == "open"
            }
            try await deployment.control("POST", "/sim/start?server=\(dead)")
            try await eventually("the breaker is closed again") {
                #expect(try await deployment.send(Ask.completion()).response.status == 200)
                return try await breaker() == "closed"
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test("Without a permit a request is refused at once", arguments: ["maxConcurrent: 1", "maxPerEndpoint: 1"])
    func permits(_ limit: String) async throws {
        var plan = Plan()
        plan.prefills = 1
        plan.orchestration += ["subRequests: {\(limit)}"]
        try await withDisaggregated(plan) { deployment in
            let (id, socket) = try await deployment.begin(Ask.completion(), fault: "prefill-hang")
            try await eventually("the first hangs") {
                try await deployment.legs(of: id).contains { $0.status == "hanging" }
            }
            for _ in 0..<3 {
                let (other, response) = try await deployment.send(Ask.completion())
                #expect(response.status == 429, "\(response.text)")
                #expect(response["x-apus-attempts"] == "0")
                #expect(try await deployment.legs(of: other).isEmpty)
            }
            socket.hangUp()
            try await deployment.waitUntilIdle()
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
        }
    }

    @Test("No prompt is computed while the endpoints that decode have no room for it")
    func decodePermits() async throws {
        var plan = Plan(.nixlv2, .relay)
        plan.decodes = 1
        plan.orchestration += ["subRequests: {maxPerEndpoint: 1}"]
        try await withDisaggregated(plan) { deployment in
            let (blocker, socket) = try await deployment.begin(Ask.completion("block"), fault: "decode-hang")
            try await eventually("the first hangs") {
                try await deployment.legs(of: blocker).contains { $0.kind == "decode" && $0.status == "hanging" }
            }
            let (id, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 429, "\(response.text)")
            #expect(response["x-apus-attempts"] == "0")
            #expect(try await deployment.legs(of: id).isEmpty)
            socket.hangUp()
            try await deployment.waitUntilIdle()
            #expect(try await deployment.send(Ask.completion()).response.status == 200)
        }
    }

    @Test("Where there is no permit for anybody nobody else is asked")
    func overallPermits() async throws {
        var plan = Plan()
        plan.orchestration += ["subRequests: {maxConcurrent: 1}"]
        try await withDisaggregated(plan) { deployment in
            let (id, socket) = try await deployment.begin(Ask.completion(), fault: "prefill-hang")
            try await eventually("the first hangs") {
                try await deployment.legs(of: id).contains { $0.status == "hanging" }
            }
            let (other, response) = try await deployment.send(Ask.completion())
            #expect(response.status == 429, "\(response.text)")
            let legs = try await deployment.apus.accessLine(other)["legs"].array.map { $0["outcome"].string }
            #expect(legs == ["no_permit"])
            socket.hangUp()
            try await deployment.waitUntilIdle()
        }
    }

    // MARK: What clients may not

    @Test(
        "What only a picker may say is refused, or taken off, when a client says it",
        arguments: Disaggregated.Mode.allCases
    )
    func forged(_ mode: Disaggregated.Mode) async throws {
        let members = [
            "kv_transfer_params", "ec_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room",
            "disaggregated_params",
        ]
        let names = [
            "x-prefiller-host-port", "x-prefiller-url", "x-encoder-hosts-ports", "x-data-parallel-host-port",
            "x-kv-cache-source-host-port", "EPP-Profile", "x-gateway-destination-endpoint",
            "x-gateway-destination-endpoint-subset",
        ]
        try await withDisaggregated(Plan(.nixlv2, mode)) { deployment in
            for member in members {
                for value in ["null", "{}", #"{"remote_host": "10.9.9.9"}"#] {
                    let body = Ask.completionBody().dropLast() + ", \"\(member)\": \(value)}"
                    let (id, response) = try await deployment.send(.post("/v1/completions", json: String(body)))
                    #expect(response.status == 400, "\(member): \(value)")
                    #expect(response.text.contains(member))
                    #expect(try await deployment.legs(of: id).isEmpty)
                }
            }
            let (id, response) = try await deployment.send(
                Ask.completion(headers: names.map { ($0, "10.9.9.9:1") } + [("x-processor-attempt", "7")])
            )
            #expect(response.status == 200, "\(response.text)")
            for leg in try await deployment.legs(of: id) {
                let arrival = try #require(try await deployment.arrivals(of: id, server: leg.server).first)
                #expect(
                    arrival.header("x-processor-attempt") == (mode == .handoff && leg.kind == "decode" ? [] : ["1"])
                )
                for name in names.map({ $0.lowercased() }) {
                    let isOurs = name == "x-gateway-destination-endpoint" && leg.kind == "decode"
                    #expect(
                        arrival.header(name) == (isOurs && mode == .handoff ? [deployment.addresses[leg.server]] : []),
                        "\(name) at the \(leg.kind)"
                    )
                }
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "A sub-request that comes back to Apus is refused, so that nothing goes round",
        arguments: Disaggregated.Mode.allCases
    )
    func recursion(_ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Plan(.nixlv2, mode)) { deployment in
            for depth in ["1", "2", "99999999999999999999", "x"] {
                let (id, response) = try await deployment.send(Ask.completion(headers: [("x-apus-depth", depth)]))
                #expect(response.status == 400, "\(depth): \(response.text)")
                #expect(try await deployment.legs(of: id).isEmpty)
            }
            #expect(try await deployment.endpoints().allSatisfy { $0["breaker"].string == "closed" })
            try await deployment.waitUntilIdle()
        }
    }

    // MARK: What legs carry

    @Test(
        "Every leg carries the request's id, its attempt and the client's own headers",
        arguments: Disaggregated.Mode.allCases
    )
    func headers(_ mode: Disaggregated.Mode) async throws {
        try await withDisaggregated(Plan(.nixlv2, mode)) { deployment in
            let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            let sent = [
                ("authorization", "Bearer secret"), ("traceparent", trace), ("x-multi", "a"), ("x-multi", "b"),
                ("accept-encoding", "gzip"),
            ]
            let (id, response) = try await deployment.send(
                Ask.completion(headers: sent),
                fault: "prefill-503,attempt=1"
            )
            #expect(response.status == 200)
            let legs = try await deployment.legs(of: id)
            #expect(legs.map(\.kind) == ["prefill", "prefill", "decode"], "\(legs)")
            for leg in legs {
                let arrival = try #require(try await deployment.arrivals(of: id, server: leg.server).first)
                #expect(arrival.header("x-request-id") == [id])
                #expect(arrival.header("authorization") == ["Bearer secret"])
                #expect(arrival.header("traceparent").count == 1)
                #expect(arrival.header("traceparent").first?.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") == true)
                #expect(arrival.header("x-multi").joined(separator: ",") == "a,b")
                if leg.kind == "prefill" || mode == .relay {
                    #expect(arrival.header("content-length").count == 1)
                    #expect(arrival.header("x-processor-attempt") == [String(leg.attempt)])
                    #expect(arrival.header("accept-encoding").isEmpty)
                } else {
                    #expect(arrival.header("x-processor-attempt").isEmpty)
                }
            }
            let line = try await deployment.apus.accessLine(id)
            let logged = line["legs"].array.map { leg in
                [leg["leg"].string, leg["endpoint"].string, leg["attempt"].int.map { "\($0)" }, leg["outcome"].string]
            }
            let addresses = legs.map { deployment.addresses[$0.server] }
            #expect(
                logged == [
                    ["prefill", addresses[0], "1", "http_503"], ["prefill", addresses[1], "2", "ok"],
                    ["decode", addresses[2], "1", "ok"],
                ]
            )
            #expect(line["attempts"].int == 2)
            let decision = try await deployment.apus.decision(id)
            #expect(decision["legs"].array.count == 3)
            #expect(
                decision["checkpoints"].array.map { $0["name"].string } == [
                    "PREFILL_SELECTED", "PREFILL_SELECTED", "PREFILL_COMPLETE", "TRANSFER_COMPLETE", "DECODE_FORWARDED",
                ]
            )
        }
    }

    @Test("A request without an id gets one for all its legs")
    func ownID() async throws {
        try await withDisaggregated(Plan()) { deployment in
            #expect(try await deployment.client.send(Ask.completion()).status == 200)
            var ids: [String] = []
            for server in deployment.addresses.indices {
                ids += try await deployment.control("GET", "/admin/requests?server=\(server)").array.flatMap {
                    $0.header("x-request-id")
                }
            }
            #expect(ids.count == 2)
            #expect(Set(ids).count == 1)
        }
    }

    // MARK: Coming again

    @Test("A request that comes again with its id goes on with the prompt that was computed for it")
    func resumes() async throws {
        var plan = Plan(.nixlv2, .relay).withoutBreakers()
        plan.decodes = 1
        plan.apus = ["--refresh-metrics-interval=1h", "--metrics-staleness-threshold=2h"]
        try await withDisaggregated(plan) { deployment in
            // The only decode endpoint cannot be reached, so the request ends after its prefill.
            let decode = deployment.decodes.lowerBound
            try await deployment.control("POST", "/sim/stop?server=\(decode)")
            let named = Disaggregated.named(Ask.completion("Tell me"))
            let refused = try await deployment.client.send(named.request)
            #expect(refused.status == 503, "\(refused.text)")
            #expect(refused.text.contains("connect_failed"), "\(refused.text)")
            #expect(try await deployment.legs(of: named.id).map(\.kind) == ["prefill"])
            let names = try await deployment.apus.decision(named.id)["checkpoints"].array.map { $0["name"].string }
            #expect(names.last == "TRANSFER_COMPLETE")
            try await deployment.control("POST", "/sim/start?server=\(decode)")
            try await deployment.waitUntilIdle()
            let response = try await deployment.client.send(named.request)
            #expect(response.status == 200, "\(response.text)")
            #expect(response["x-apus-attempts"] == "0")
            #expect(try await deployment.legs(of: named.id).map(\.kind) == ["prefill", "decode"])
            #expect(try await deployment.event("resumed") == 1)
            // Once.
            #expect(try await deployment.client.send(named.request)["x-apus-attempts"] == "1")
            #expect(try await deployment.counter("transfer_failed") == 0)
            try await deployment.waitUntilIdle()
        }
    }
}
