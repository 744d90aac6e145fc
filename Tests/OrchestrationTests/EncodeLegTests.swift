import Bytes
import Inference
import Orchestration
import Pool
import Scheduling
import Testing

@Suite("Encode legs")
struct EncodeLegTests {
    static func images(_ count: Int) -> String {
        let parts = (0..<count).map { #"{"type":"image_url","image_url":{"url":"http://pictures/\#($0)"}}"# }
        return #"{"model":"m","messages":[{"role":"user","content":[\#(parts.joined(separator: ","))]}]}"#
    }

    private func bench(
        encoders: Int = 3,
        _ configure: (inout OrchestrationSettings) -> Void = { _ in },
        script: @escaping @Sendable (ScriptedTransport.Sent) -> Reply?
    ) -> OrchestrationBench {
        OrchestrationBench(
            .nixlv2,
            encoders: encoders,
            {
                $0.encodeConnector = .nixl
                configure(&$0)
            },
            script: script
        )
    }

    private static func isEncode(_ sent: ScriptedTransport.Sent) -> Bool { sent.leg.stage == .encode }

    @Test(
        "Every image has a leg with an id of its own, and every later leg knows what was encoded, in the order of the images"
    )
    func all() async throws {
        let bench = bench(script: allGood)
        let run = try bench.run(Self.images(3)) { $0.encodes() }
        let order = try await run.prepare()
        #expect(bench.transport.sent(.encode).map(\.leg.requestID).sorted() == ["r-1-enc-0", "r-1-enc-1", "r-1-enc-2"])
        #expect(run.journal.events.prefix(4) == ["encode ok", "encode ok", "encode ok", "ENCODE_COMPLETE"])
        let prefill = try #require(bench.transport.sent(.prefill).first).body
        for body in [prefill, String(repairing: order.body.joined().bytes)] {
            let members = body.matches(of: /"(r-1-enc-\d)":\{/).map { String($0.1) }
            #expect(members == ["r-1-enc-0", "r-1-enc-1", "r-1-enc-2"])
        }
        // One image for each endpoint: the load counts while legs are under way.
        #expect(Set(bench.transport.sent(.encode).map(\.leg.endpoint.address)).count == 3)
    }

    @Test("At most eight are under way at a time")
    func fanOut() async throws {
        let gate = Gate()
        let bench = bench { sent in
            guard Self.isEncode(sent) else { return nil }
            return .after(
                gate,
                .answer(200, #"{"ec_transfer_params":{"h\#(sent.index)":{"peer_host":"h","peer_port":1}}}"#)
            )
        }
        let run = try bench.run(Self.images(30)) { $0.encodes() }
        let transport = bench.transport
        let release = Task {
            await transport.silent(8)
            let most = transport.peak
            gate.open()
            return most
        }
        _ = try await run.prepare()
        #expect(await release.value == 8)
        #expect(bench.transport.peak == 8)
        #expect(bench.transport.sent(.encode).count == 30)
        #expect(run.journal.count("encode ok") == 30)
    }

    @Test("An item that fails is encoded elsewhere, and the others are not done again", arguments: PrefillFault.all)
    func again(_ fault: PrefillFault) async throws {
        guard fault.connectors == nil else { return }
        let bench = bench { sent in
            Self.isEncode(sent) && sent.leg.requestID == "r-1-enc-1" && sent.leg.attempt == 1
                && sent.leg.endpoint.address == "10.0.2.2" ? fault.reply : nil
        }
        let run = try bench.run(Self.images(2)) { $0.encodes() }
        let order = try await run.prepare()
        #expect(String(repairing: order.body.joined().bytes).contains("r-1-enc-1"))
        let legs = bench.transport.sent(.encode)
        #expect(legs.count == 3)
        #expect(legs.map(\.leg.attempt) == [1, 1, 2])
        #expect(legs[2].leg.endpoint.address != "10.0.2.2")
        #expect(run.journal.legs.count { $0.outcome == fault.outcome } == 1)
        order.dispatched()
    }

    @Test("An item that nobody encodes ends the request, or is left to who computes the prompt")
    func exhausted() async throws {
        for policy in OrchestrationSettings.Exhausted.allCases {
            let bench = bench(encoders: 5, { $0.onExhausted = policy }) { sent in
                Self.isEncode(sent) && sent.leg.requestID.hasSuffix("1") ? .answer(503, "") : nil
            }
            let run = try bench.run(Self.images(2)) { $0.encodes() }
            switch policy {
            case .fail:
                #expect(await run.prepareError()?.word == "encode exhausted: http_503 http_503 http_503")
                #expect(bench.transport.sent(.prefill).isEmpty)
            case .decodeLocal:
                let order = try await run.prepare()
                #expect(!String(repairing: order.body.joined().bytes).contains("ec_transfer_params"))
                #expect(run.journal.events.contains("encode exhausted, decoded locally"))
                order.dispatched()
            }
            run.end()
            #expect(await bench.isIdle())
        }
    }

    @Test("A refusal ends the other legs and is the client's")
    func refused() async throws {
        let bench = bench { sent in
            guard Self.isEncode(sent) else { return nil }
            return sent.leg.requestID.hasSuffix("1") ? .answer(400, "no picture") : .silence
        }
        let run = try bench.run(Self.images(3)) { $0.encodes() }
        #expect(await run.prepareError()?.word == "refused 400")
        #expect(run.journal.legs.map(\.outcome).sorted() == ["cancelled", "cancelled", "http_400"])
        #expect(await bench.isIdle())
    }

    @Test("Without a permit anywhere it is too many requests")
    func noPermit() async throws {
        let bench = bench { Self.isEncode($0) ? .failure(.noPermit) : nil }
        let run = try bench.run(Self.images(2)) { $0.encodes() }
        #expect(await run.prepareError()?.word == "no permit")
        #expect(bench.transport.sent(.encode).allSatisfy { $0.leg.attempt == 1 })
        #expect(await bench.isIdle())
    }

    @Test("Where there is no permit for anybody nobody else is asked")
    func full() async throws {
        let bench = bench { Self.isEncode($0) ? .full : nil }
        let run = try bench.run(Self.images(1)) { $0.encodes() }
        #expect(await run.prepareError()?.word == "no permit")
        #expect(bench.transport.sent(.encode).count == 1)
        #expect(await bench.isIdle())
    }

    @Test("One item tries an endpoint whose breaker is half-open; the others wait for what becomes of it")
    func halfOpen() async throws {
        let bench = bench(encoders: 1, script: allGood)
        try bench.open("10.0.2.1")
        bench.clock.advance(by: .seconds(5))
        let run = try bench.run(Self.images(5)) { $0.encodes() }
        _ = try await run.prepare()
        #expect(bench.transport.sent(.encode).count == 5)
        #expect(try bench.state("10.0.2.1") == .closed)

        let down = self.bench(encoders: 1) { Self.isEncode($0) ? .refused : nil }
        try down.open("10.0.2.1")
        down.clock.advance(by: .seconds(5))
        let second = try down.run(Self.images(5)) { $0.encodes() }
        #expect(await second.prepareError()?.word == "encode exhausted: connect_failed")
        #expect(down.transport.sent(.encode).count == 1)
        #expect(try down.state("10.0.2.1") == .open)
    }

    @Test("A request without images has no encode legs, and images are encoded once for all its decodes")
    func once() async throws {
        let bench = bench { sent in sent.leg.stage == .decode && sent.index == 0 ? .answer(500, "") : nil }
        _ = try await bench.run(#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#) { $0.encodes() }.relay()
        #expect(bench.transport.sent(.encode).isEmpty)
        let again = self.bench { sent in sent.leg.stage == .decode && sent.index == 0 ? .answer(500, "") : nil }
        _ = try await again.run(Self.images(1)) { $0.encodes() }.relay()
        #expect(again.transport.sent(.encode).count == 1)
        #expect(again.transport.sent(.decode).allSatisfy { $0.body.contains("r-1-enc-0") })
    }
}

extension OrchestrationBench.Run.Options {
    mutating func encodes() {
        api = .chatCompletions
        path = "/v1/chat/completions"
        wantsEncode = true
    }
}
