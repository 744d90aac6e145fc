import TestSupport
import Testing

@Suite("Images that are encoded before anything else", .serialized, .showsLogs)
struct OrchestrationEncodeTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let encoder: String
        let splitsPrefill: Bool
        let mode: Disaggregated.Mode
        var testDescription: String { "\(encoder), \(splitsPrefill ? "E/P/D" : "E/PD"), \(mode.rawValue)" }

        static let all = ["ec-example", "ec-nixl"].flatMap { encoder in
            [false, true].flatMap { splits in
                Disaggregated.Mode.allCases.map { Case(encoder: encoder, splitsPrefill: splits, mode: $0) }
            }
        }

        var plan: Disaggregated.Plan {
            var plan = Disaggregated.Plan(.nixlv2, mode).withoutBreakers()
            plan.encodes = 3
            plan.splitsPrefill = splitsPrefill
            plan.prefills = splitsPrefill ? 2 : 0
            plan.orchestration += ["encodeConnector: \(encoder)", "attemptTimeout: 2s"]
            plan.simulator = ["--ec-connector", encoder == "ec-nixl" ? "nixl" : "example"]
            return plan
        }
    }

    private static func request(images: [String], stream: Bool = false) -> TestRequest {
        let parts = images.map { #"{"type": "image_url", "image_url": {"url": "http://images.test/\#($0)"}}"# }
        let content = ([#"{"type": "text", "text": "What is this?"}"#] + parts).joined(separator: ", ")
        let body =
            #"{"model": "\#(Simulators.model)", "messages": [{"role": "user", "content": [\#(content)]}], "#
            + #""max_tokens": 5, "ignore_eos": true, "stream": \#(stream)"#
            + (stream ? #", "stream_options": {"include_usage": true}}"# : "}")
        return .post("/v1/chat/completions", json: body)
    }

    @Test("Every image is encoded once, and whoever computes the prompt finds it", arguments: Case.all)
    func encodes(_ way: Case) async throws {
        try await withDisaggregated(way.plan) { deployment in
            for stream in [false, true] {
                let (id, response) = try await deployment.send(
                    Self.request(images: ["a\(stream)", "b\(stream)", "a\(stream)"], stream: stream)
                )
                var encoded: [SimulatedLeg] = []
                for index in 0..<3 { encoded += try await deployment.legs(of: "\(id)-enc-\(index)") }
                let legs = try await deployment.legs(of: id)
                #expect(response.status == 200, "\(response.text) \(encoded) \(legs)")
                #expect(encoded.count == 2, "\(encoded)")
                #expect(encoded.allSatisfy { $0.kind == "encode" && deployment.encodes.contains($0.server) })
                let rest = way.splitsPrefill ? ["prefill", "decode"] : ["monolithic"]
                #expect(legs.map(\.kind) == rest, "\(legs)")
                let line = try await deployment.apus.accessLine(id)
                #expect(line["legs"].array.filter { $0["leg"].string == "encode" }.count == 2, "\(line)")
                let checkpoints = try await deployment.apus.decision(id)["checkpoints"].array.map { $0["name"].string }
                #expect(checkpoints.first == "ENCODE_COMPLETE", "\(checkpoints)")
                #expect(checkpoints.last == "DECODE_FORWARDED", "\(checkpoints)")
            }
            if way.encoder == "ec-nixl" {
                #expect(try await deployment.counter("ec_miss") == 0)
                #expect(try await deployment.counter("ec_hit") > 0)
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "A failed encode leg is made good elsewhere",
        arguments: Case.all.filter { $0.mode == .handoff || $0.splitsPrefill }
    )
    func fails(_ way: Case) async throws {
        let faults = [
            "500", "503", "429", "close", "reset", "eof-body", "hang", "truncated-json", "huge-body", "garbage",
        ]
        try await withDisaggregated(way.plan) { deployment in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for fault in faults {
                    group.addTask {
                        let (id, response) = try await deployment.send(
                            Self.request(images: ["one", "two"]),
                            fault: "encode-\(fault),attempt=1"
                        )
                        let first = try await deployment.legs(of: "\(id)-enc-0")
                        let second = try await deployment.legs(of: "\(id)-enc-1")
                        let seen = Comment(rawValue: "\(fault): \(response.status) \(response.text) \(first) \(second)")
                        #expect(response.status == 200, seen)
                        for legs in [first, second].map(SimulatedLeg.withoutResent) {
                            #expect(legs.map(\.attempt) == [1, 2], seen)
                            #expect(Set(legs.map(\.server)).count == 2, seen)
                        }
                    }
                }
                group.addTask {
                    let (id, response) = try await deployment.send(Self.request(images: ["x"]), fault: "encode-404")
                    #expect(response.status == 404)
                    #expect(response.text.contains("A fault that was asked for: 404"))
                    #expect(try await deployment.legs(of: id).isEmpty)
                }
                try await group.waitForAll()
            }
            try await deployment.waitUntilIdle()
        }
    }

    @Test(
        "When no encode endpoint does it, the client is told, or the rest goes on without",
        arguments: ["fail", "decode-local"]
    )
    func exhausted(_ policy: String) async throws {
        var plan = Case(encoder: "ec-nixl", splitsPrefill: true, mode: .handoff).plan
        plan.orchestration += ["onExhausted: \(policy)"]
        try await withDisaggregated(plan) { deployment in
            let (_, response) = try await deployment.send(Self.request(images: ["x"]), fault: "encode-503")
            #expect(response.status == (policy == "fail" ? 503 : 200), "\(response.text)")
            if policy == "fail" { #expect(response.text.contains("no encode endpoint")) }
            try await deployment.waitUntilIdle()
        }
    }
}
