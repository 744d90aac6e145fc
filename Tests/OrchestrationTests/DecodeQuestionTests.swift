import Bytes
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Decode endpoints that are asked first")
struct DecodeQuestionTests {
    private static let prompt =
        #"{"model":"m","prompt":"tell me","max_tokens":50,"stream":true,"cache_hit_threshold":0.8}"#
    private static let enoughAnswer =
        #"{"choices":[{"finish_reason":"length"}],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8}}}"#
    private static let tooLittleAnswer = #"{"choices":[{"finish_reason":"cache_threshold"}]}"#

    private func bench(_ reply: Reply) -> OrchestrationBench {
        OrchestrationBench(.sharedStorage) { sent in
            sent.leg.stage == .decode && sent.body.contains(#""max_tokens":1"#) ? reply : nil
        }
    }

    @Test("One that has enough of the prompt decodes at once")
    func enough() async throws {
        let bench = bench(.answer(200, Self.enoughAnswer))
        let run = try bench.run(Self.prompt)
        do {
            let order = try await run.prepare()
            #expect(run.journal.summary == ["decode 10.0.1.1 #1 ok"])
            #expect(bench.transport.sent(.prefill).isEmpty)
            let question = try #require(bench.transport.sent(.decode).first)
            #expect(question.body.contains(#""cache_hit_threshold":0.8"#))
            #expect(question.body.contains(#""stream":false"#))
            #expect(order.endpoint?.address == "10.0.1.1")
            #expect(order.prefill == nil)
            #expect(order.cachedTokens == 8)
            #expect(
                String(repairing: order.body.joined().bytes)
                    == #"{"model":"m","prompt":"tell me","max_tokens":50,"stream":true,"cache_hit_threshold":0}"#
            )
            #expect(try bench.endpoint("10.0.1.1").load.reading.requests == 1)
            order.dispatched()
        }
        run.end()
        #expect(await bench.isIdle())
    }

    @Test(
        "When one has too little, or cannot say, a prefill is made",
        arguments: [
            (Reply.answer(200, tooLittleAnswer), "cache_threshold"), (.answer(200, "{"), "bad_response"),
            (.answer(503, ""), "http_503"), (.refused, "connect_failed"),
            (.failure(.timeout, breaker: true), "timeout"),
            (.failure(.noPermit), "no_permit"),
        ]
    )
    func tooLittle(_ reply: Reply, _ outcome: String) async throws {
        let bench = bench(reply)
        let run = try bench.run(Self.prompt)
        do {
            let order = try await run.prepare()
            #expect(run.journal.summary == ["decode 10.0.1.1 #1 \(outcome)", "prefill 10.0.0.1 #1 ok"])
            #expect(order.prefill?.address == "10.0.0.1")
            #expect(String(repairing: order.body.joined().bytes).contains(#""cache_hit_threshold":0}"#))
        }
        run.end()
        #expect(await bench.isIdle())
    }

    @Test("Its refusal of the request is the client's")
    func refused() async throws {
        let run = try bench(.answer(400, "no")).run(Self.prompt)
        #expect(await run.prepareError()?.word == "refused 400")
    }

    @Test("A client that leaves ends the question")
    func left() async throws {
        let bench = bench(.silence)
        let run = try bench.run(Self.prompt)
        let (client, transport) = (bench.client, bench.transport)
        let leaving = Task {
            await transport.silent()
            client.open()
        }
        #expect(await run.prepareError()?.word == "client gone")
        await leaving.value
        #expect(run.journal.summary == ["decode 10.0.1.1 #1 cancelled"])
        run.end()
        #expect(await bench.isIdle())
    }

    @Test(
        "Who has no threshold is not asked",
        arguments: [
            "", #","cache_hit_threshold":0"#, #","cache_hit_threshold":0.0e5"#, #","cache_hit_threshold":null"#,
        ]
    )
    func noThreshold(_ member: String) async throws {
        let bench = bench(.answer(200, Self.enoughAnswer))
        let run = try bench.run(#"{"model":"m","prompt":"tell me"\#(member)}"#)
        _ = try await run.prepare()
        #expect(run.journal.summary == ["prefill 10.0.0.1 #1 ok"])
    }

    @Test("No other connector asks", arguments: ConnectorName.allCases.filter { $0 != .sharedStorage })
    func others(_ connector: ConnectorName) async throws {
        let bench = OrchestrationBench(connector, script: allGood)
        let order = try await bench.run(Self.prompt).prepare()
        #expect(bench.transport.sent(.decode).isEmpty)
        bench.orchestrator.conclude(order, isDecoded: false)
    }
}
