import Foundation
import TestSupport
import Testing

@Suite("Faults", .timeLimit(.minutes(1)))
struct FaultTests {
    private func prefill(_ fleet: Fleet, _ headers: [(String, String)] = []) async throws -> Simulator.Answer {
        try await fleet.post("/v1/completions", completion(remoteDecode), headers: headers)
    }

    @Test(
        "A rule is about its leg, attempt and request only",
        arguments: [
            ("503", 503), ("prefill-503", 503), ("decode-503", 200), ("503,attempt=2", 503), ("503,attempt=1", 200),
            ("503,id=abc", 503), ("503,id=b", 200), ("decode-503;429", 429), ("503=0", 200),
        ]
    )
    func aims(rule: String, status: Int) async throws {
        let fleet = try Fleet.nixl("--fault", rule)
        let headers = [("x-request-id", "abcd"), ("x-processor-attempt", "2")]
        #expect(try await prefill(fleet, headers).status == status)
        let other = try Fleet.nixl()
        #expect(try await prefill(other, headers + [("x-sim-fault", rule)]).status == status)
        let leg = try await other.audit()
        #expect(leg.integer("legs.0.attempt") == 2)
        #expect(leg.string("legs.0.fault") == (status == 200 ? nil : String(rule.split(separator: ";").last ?? "")))
    }

    @Test("Rules change at run time, count their hits, and end with their count")
    func changes() async throws {
        let fleet = try Fleet.nixl()
        try await fleet.control("POST", "/sim/faults", "{\"rules\":[\"503,count=2\"]}")
        #expect(try await prefill(fleet).status == 503)
        #expect(try await prefill(fleet).headers["retry-after"] == "1")
        #expect(try await prefill(fleet).status == 200)
        #expect(try await fleet.control("GET", "/sim/faults").integer("rules.0.hits") == 2)
        try await fleet.control("POST", "/sim/faults", "{\"add\":[\"404\",\"429\"]}")
        #expect(try await prefill(fleet).status == 404)
        try await fleet.control("DELETE", "/sim/faults")
        #expect(try await prefill(fleet).status == 200)
        let wrong = try await fleet.control("POST", "/sim/faults", "{\"rules\":[\"503,nonsense=1\"]}")
        #expect(wrong.status == 400)
        #expect(try await prefill(fleet, [("x-sim-fault", "nonsense")]).status == 400)
    }

    @Test("A rate is about so many of the requests")
    func takesChances() async throws {
        let fleet = try Fleet(["--fault", "503=0.5"])
        var failed = 0
        for _ in 0..<40 where try await fleet.post("/v1/completions", completion("")).status == 503 { failed += 1 }
        #expect((5...35).contains(failed))
    }

    @Test(
        "Connections that break give no answer",
        arguments: [
            "close", "reset", "eof-body", "reset-body", "garbage", "cut", "stream eof-body", "stream reset-body",
        ]
    )
    func breaks(_ name: String) async throws {
        let isStream = name.hasPrefix("stream ") || name == "cut"
        let fault = name.split(separator: " ").last.map(String.init) ?? name
        let fleet = try Fleet([])
        let body = completion(isStream ? "\"stream\":true" : "", maxTokens: 20)
        await #expect(throws: (any Error).self) {
            try await fleet.post("/v1/completions", body, headers: [("x-sim-fault", fault)])
        }
        #expect(try await fleet.post("/v1/completions", body).status == 200)
        try await fleet.wait(gauge: "active", atMost: 0)
    }

    @Test(
        "Half an answer comes before the connection breaks or hangs",
        arguments: ["eof-body", "reset-body", "hang-body"]
    )
    func breaksInTheMiddle(_ fault: String) async throws {
        let fleet = try Fleet([])
        let client = try await fleet.begin("/v1/completions", completion(""), headers: [("x-sim-fault", fault)])
        var bytes: [UInt8] = []
        while !bytes.contains(UInt8(ascii: "{")) {
            let piece = try await client.read()
            if piece.isEmpty { break }
            bytes += piece
        }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 200"))
        #expect(text.contains("{\"id\":"))
        client.hangUp()
        if fault == "hang-body" { try await fleet.wait("disconnect") }
    }

    @Test(
        "A request that hangs is seen to be left",
        arguments: ["hang", "endless-headers", "huge-body", "slow,delay=1s"]
    )
    func seesDisconnects(_ fault: String) async throws {
        let fleet = try Fleet([])
        let client = try await fleet.begin("/v1/completions", completion(""), headers: [("x-sim-fault", fault)])
        try await fleet.wait("fault")
        client.hangUp()
        try await fleet.wait("disconnect")
        #expect(try await fleet.audit().value("legs.0.disconnect") as? Bool == true)
    }

    @Test(
        "Answers are wrong in the way that was asked for",
        arguments: [
            ("kv-missing", { @Sendable in !$0.body.contains("kv_transfer_params") }),
            ("kv-null", { @Sendable in $0.body.contains("\"kv_transfer_params\":null") }),
            ("kv-malformed", { @Sendable in $0.value("kv_transfer_params") is String }),
            ("kv-array", { @Sendable in $0.value("kv_transfer_params") is [Any] }),
            ("kv-empty", { @Sendable in ($0.value("kv_transfer_params") as? [String: Any])?.isEmpty == true }),
            ("kv-partial", { @Sendable in $0.value("kv_transfer_params.remote_block_ids") == nil }),
            ("truncated-json", { @Sendable in $0.json.isEmpty && $0.body.hasPrefix("{\"id\"") }),
            ("deep-json", { @Sendable in $0.body.contains(String(repeating: "[", count: 10_000)) }),
            (
                "duplicate-members",
                { @Sendable in $0.body.components(separatedBy: "\"kv_transfer_params\":").count == 3 }
            ),
            (
                "error-200",
                { $0.string("choices.0.finish_reason") == "error" && $0.integer("usage.completion_tokens") == 0 }
            ),
            ("delay,delay=5ms", { @Sendable in $0.string("kv_transfer_params.remote_engine_id") != nil }),
            ("slow,delay=1us", { @Sendable in $0.string("kv_transfer_params.remote_engine_id") != nil }),
        ] as [(String, @Sendable (Simulator.Answer) -> Bool)]
    )
    func misleads(fault: String, isRight: @escaping @Sendable (Simulator.Answer) -> Bool) async throws {
        let fleet = try Fleet.nixl()
        let answer = try await prefill(fleet, [("x-sim-fault", fault)])
        #expect(answer.status == 200)
        #expect(isRight(answer), "\(answer.body.prefix(1000))")
        if fault == "error-200" { #expect(try await fleet.gauge("leases") == 0) }
    }

    @Test(
        "Parameters may name the wrong engine, or be worth nothing on arrival",
        arguments: ["kv-wrong", "kv-expired"]
    )
    func misdirects(_ fault: String) async throws {
        let fleet = try Fleet.nixl()
        let parameters = try await prefill(fleet, [("x-sim-fault", fault)]).raw("kv_transfer_params")
        let decode = completion("\"kv_transfer_params\":\(parameters)")
        #expect(try await fleet.post("/v1/completions", decode, server: 1).status == 500)
    }

    @Test("A slow stream is whole")
    func streamsSlowly() async throws {
        let fleet = try Fleet([])
        let body = completion("\"stream\":true", maxTokens: 3)
        let answer = try await fleet.post("/v1/completions", body, headers: [("x-sim-fault", "slow,delay=1us")])
        #expect(answer.events.count == 4)
        #expect(answer.events.last == "[DONE]")
    }

    @Test("A server that crashes cuts its connections, refuses new ones, and comes back as another engine")
    func crashes() async throws {
        let fleet = try Fleet.nixl("--inter-token-latency", "1h")
        let id = try await fleet.audit().string("engine_id")
        let open = try await fleet.begin("/v1/completions", completion("", maxTokens: 5))
        try await fleet.wait("request")
        await #expect(throws: (any Error).self) {
            try await fleet.post("/v1/completions", completion(""), headers: [("x-sim-fault", "crash")])
        }
        try await fleet.wait("stopped")
        // The other request ends too: by an end or by a reset.
        _ = try? await open.read()
        await #expect(throws: (any Error).self) { try await fleet.get("/health") }
        // Nobody else gets the port meanwhile.
        let hold = try Fleet(["--count", "10"])
        #expect(!hold.ports.contains(fleet.ports[0]))
        try await fleet.control("POST", "/sim/start?server=0")
        #expect(try await fleet.get("/health").status == 200)
        let audit = try await fleet.audit()
        #expect(audit.string("engine_id") != id)
        #expect(audit.string("legs.0.status") == "lost")
        #expect(audit.integer("counters.disconnect") == 0)
    }

    @Test("A server can be down for a time only")
    func comesBack() async throws {
        let fleet = try Fleet([])
        try await fleet.control("POST", "/sim/stop", "{\"down\":\"10ms\"}")
        try await fleet.wait("started")
        #expect(try await fleet.get("/health").status == 200)
    }

    @Test("The fault exit ends the process")
    func exits() async throws {
        let simulator = try Simulator("--fault", "exit")
        await #expect(throws: (any Error).self) { try await simulator.post("/v1/completions", completion("")) }
        #expect(simulator.end() == .exited(1))
    }

    @Test("Waiting ends with 408 when nothing happens")
    func timesOut() async throws {
        let fleet = try Fleet([])
        #expect(try await fleet.control("GET", "/sim/wait?event=disconnect&timeout=1ms").status == 408)
        #expect(try await fleet.control("GET", "/sim/wait?event=nonsense").status == 400)
        #expect(try await fleet.control("GET", "/sim/audit?server=9").status == 404)
    }
}
