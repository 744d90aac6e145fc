import Foundation
import TestSupport
import Testing
import apus_sim

@Suite("Legs that are sent at the same time", .timeLimit(.minutes(1)))
struct RendezvousTests {
    // MARK: SGLang

    private static func sglang(_ more: String...) throws -> Fleet {
        try Fleet(["--engine", "sglang", "--count", "2", "--role", "prefill,decode"] + more)
    }

    private func leg(
        _ fleet: Fleet,
        room: Int = 9_223_372_036_854_775_807,
        rid: String = "rid-1",
        more: String = ""
    ) -> String {
        completion(
            "\"bootstrap_host\":\"127.0.0.1\",\"bootstrap_port\":\(fleet.ports[0]),\"bootstrap_room\":\(room),\"rid\":\"\(rid)\"\(more)",
            maxTokens: 3
        )
    }

    @Test("SGLang's prefill answers only when its decode has come, whichever comes first", arguments: [true, false])
    func meets(prefillFirst: Bool) async throws {
        let fleet = try Self.sglang()
        let body = leg(fleet)
        let first = Task { try await fleet.post("/v1/completions", body, server: prefillFirst ? 0 : 1) }
        try await fleet.wait(prefillFirst ? "parked" : "joined")
        #expect(try await fleet.counter("answered", server: prefillFirst ? 0 : 1) == 0)
        let second = try await fleet.post("/v1/completions", body, server: prefillFirst ? 1 : 0)
        #expect(second.status == 200)
        #expect(try await first.value.status == 200)
        #expect(try await fleet.audit(1).integer("legs.0.external_tokens") == 100)
        #expect(try await fleet.gauge("pinned") == 0)
        #expect(try await fleet.gauge("meetings") == 0)
    }

    @Test("A prefill makes one token, and its stream says nothing until the decode has come")
    func holdsStreams() async throws {
        let fleet = try Self.sglang()
        let body = leg(fleet, more: ",\"stream\":true")
        let prefill = Task { try await fleet.post("/v1/completions", body) }
        try await fleet.wait("parked")
        #expect(try await fleet.audit().integer("legs.0.completion_tokens") == 1)
        #expect(try await fleet.gauge("active") == 1)
        let decode = try await fleet.post("/v1/completions", body, server: 1)
        #expect(decode.events.count == 4)
        #expect(try await prefill.value.events.count == 2)
    }

    @Test("A prefill that is aborted while it waits for its decode answers as if it had succeeded")
    func abortsInTransfer() async throws {
        let fleet = try Self.sglang()
        let prefill = Task { try await fleet.post("/v1/completions", leg(fleet)) }
        try await fleet.wait("parked")
        _ = try await fleet.post("/abort_request", "{\"rid\":\"rid-1\"}")
        #expect(try await prefill.value.string("choices.0.finish_reason") == "length")
        #expect(try await fleet.gauge("pinned") == 0)
    }

    @Test("A decode of another room waits in vain, and so does its prefill")
    func missesOther() async throws {
        let fleet = try Self.sglang("--bootstrap-timeout", "30ms", "--waiting-timeout", "30ms")
        let prefill = Task { try await fleet.post("/v1/completions", leg(fleet, room: 1)) }
        let decode = try await fleet.post("/v1/completions", leg(fleet, room: 2), server: 1)
        #expect(decode.status == 500)
        #expect(try await prefill.value.status == 500)
        try await fleet.wait(gauge: "pinned", atMost: 0)
        #expect(try await fleet.counter("rendezvous_timeout", server: 1) == 1)
    }

    @Test("A request without bootstrap parameters is parked", arguments: [0, 1])
    func parks(server: Int) async throws {
        let fleet = try Self.sglang()
        let client = try await fleet.begin("/v1/completions", completion(""), server: server)
        try await fleet.wait("parked", server: server)
        client.hangUp()
        try await fleet.wait("disconnect", server: server)
    }

    @Test(
        "The decode of a prefill that was aborted hangs until its timeout",
        arguments: ["disconnect", "abort_request", "crash"]
    )
    func hangs(_ how: String) async throws {
        let fleet = try Self.sglang("--time-to-first-token", "1h", "--waiting-timeout", "300ms")
        let prefill = try await fleet.begin("/v1/completions", leg(fleet))
        try await fleet.wait("prefill")
        let decode = Task { try await fleet.post("/v1/completions", leg(fleet), server: 1) }
        try await fleet.wait("decode", server: 1)
        switch how {
        case "disconnect": prefill.hangUp()
        case "crash": try await fleet.control("POST", "/sim/stop?server=0")
        default: #expect(try await fleet.post("/abort_request", "{\"rid\":\"rid\"}").status == 200)
        }
        #expect(try await decode.value.status == 500)
        #expect(try await fleet.counter("rendezvous_timeout", server: 1) == 1)
        prefill.hangUp()
    }

    @Test("An abort ends what its rid is the beginning of, and answers 200 when there is nothing")
    func aborts() async throws {
        let fleet = try Self.sglang()
        let body = leg(fleet, rid: "abc-17")
        let decode = Task { try await fleet.post("/v1/completions", body, server: 1) }
        try await fleet.wait("joined")
        #expect(try await fleet.post("/abort_request", "{\"rid\":\"bc-17\"}", server: 1).status == 200)
        #expect(try await fleet.gauge("active", server: 1) == 1)
        #expect(try await fleet.post("/abort_request", "{\"rid\":\"abc\"}", server: 1).status == 200)
        let answer = try await decode.value
        #expect(answer.status == 200)
        #expect(answer.string("choices.0.finish_reason") == "abort")
        try await fleet.wait(gauge: "meetings", atMost: 0)
    }

    @Test("A decode whose prefill server does not listen fails at once")
    func failsWithoutServer() async throws {
        let fleet = try Self.sglang()
        try await fleet.control("POST", "/sim/stop?server=0")
        #expect(try await fleet.post("/v1/completions", leg(fleet), server: 1).status == 500)
    }

    @Test("SGLang's servers of two processes meet too, also at a port of their own")
    func meetsOverProcesses() async throws {
        let prefill = try Simulator("--engine", "sglang", "--role", "prefill", "--bootstrap-port", "0")
        let decode = try Simulator("--engine", "sglang", "--role", "decode")
        let port = try #require(prefill.ports.last)
        let body = completion("\"bootstrap_host\":\"127.0.0.1\",\"bootstrap_port\":\(port),\"bootstrap_room\":7")
        let first = Task { [port = prefill.ports[0]] in
            try await Simulator.send(.post("/v1/completions", json: body), port: port)
        }
        let second = try await decode.post("/v1/completions", body)
        #expect(second.status == 200)
        #expect(try await first.value.status == 200)
        #expect(try await prefill.get("/metrics").body.contains("sglang:num_running_reqs{"))
    }

    // MARK: vLLM

    private func parameters(_ json: String) -> String { completion("\"kv_transfer_params\":\(json)", maxTokens: 2) }

    @Test("Mooncake's legs meet by transfer id; an engine id of before a restart fails", arguments: [true, false])
    func meetsByTransfer(isStale: Bool) async throws {
        let fleet = try Fleet(["--count", "2", "--kv-connector", "mooncake"])
        let engine = try #require(try await fleet.get("/query").string("0.engine_id"))
        if isStale { try await fleet.control("POST", "/sim/restart?server=0") }
        let decodeBody = parameters(
            "{\"do_remote_prefill\":true,\"do_remote_decode\":false,\"transfer_id\":\"xfer-1\","
                + "\"remote_bootstrap_addr\":\"http://127.0.0.1:\(fleet.ports[0])\",\"remote_engine_id\":\"\(engine)\"}"
        )
        let decode = Task { try await fleet.post("/v1/completions", decodeBody, server: 1) }
        let prefillBody = parameters(
            "{\"do_remote_prefill\":false,\"do_remote_decode\":true,\"transfer_id\":\"xfer-1\"}"
        )
        #expect(try await fleet.post("/v1/completions", prefillBody).status == 200)
        #expect(try await decode.value.status == (isStale ? 500 : 200))
        #expect(try await fleet.gauge("pinned") == (isStale ? 1 : 0))
        if !isStale { #expect(try await fleet.audit(1).integer("legs.0.external_tokens") == 100) }
    }

    @Test("A prefill that no decode fetches is forgotten after its time")
    func forgets() async throws {
        let fleet = try Fleet(["--kv-connector", "mooncake", "--kv-abort-timeout", "20ms"])
        _ = try await fleet.post("/v1/completions", parameters("{\"do_remote_decode\":true,\"transfer_id\":\"a\"}"))
        try await fleet.wait("expired")
        #expect(try await fleet.gauge("pinned") == 0)
    }

    @Test("An offloading decode whose prefill does not come computes by itself", arguments: [true, false])
    func offloadingMisses(isStopped: Bool) async throws {
        let fleet = try Fleet(["--count", "2", "--kv-connector", "offloading", "--waiting-timeout", "20ms"])
        if isStopped { try await fleet.control("POST", "/sim/stop?server=0") }
        let decode = parameters(
            "{\"remote_prefiller\":{\"kv_request_id\":\"r1\",\"remote_host\":\"127.0.0.1\",\"remote_port\":\(fleet.ports[0])}}"
        )
        #expect(try await fleet.post("/v1/completions", decode, server: 1).status == 200)
        #expect(try await fleet.counter("local_fallback", server: 1) == 1)
        #expect(try await fleet.audit(1).integer("legs.0.external_tokens") == 0)
        if !isStopped { try await fleet.wait(gauge: "meetings", atMost: 0) }
    }

    @Test("A batch meets in its first room")
    func meetsWithLists() async throws {
        let fleet = try Self.sglang()
        let body = completion(
            "\"bootstrap_host\":[\"127.0.0.1\",\"127.0.0.1\"],\"bootstrap_port\":[\(fleet.ports[0]),\(fleet.ports[0])],"
                + "\"bootstrap_room\":[1,2]",
            prompt: "[\"a\",\"b\"]"
        )
        let prefill = Task { try await fleet.post("/v1/completions", body) }
        #expect(try await fleet.post("/v1/completions", body, server: 1).integer("choices.1.index") == 1)
        #expect(try await prefill.value.status == 200)
    }

    @Test("Servers can have an address each and the same ports, as pods have")
    func hasAddresses() async throws {
        let fleet = try Fleet([
            "--count", "3", "--kv-connector", "offloading", "--address-per-server", "--bootstrap-port", "0",
            "--waiting-timeout", "60s",
        ])
        #expect(fleet.servers.addresses == ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
        #expect(Set(fleet.ports).count == 1)
        #expect(Set(fleet.servers.bootstrapPorts).count == 1)
        let decode = parameters(
            "{\"remote_prefiller\":{\"kv_request_id\":\"r1\",\"remote_host\":\"127.0.0.3\","
                + "\"remote_port\":\(fleet.servers.bootstrapPorts[0])}}"
        )
        let simulator = try Simulator("--kv-connector", "offloading", "--waiting-timeout", "60s")
        let here = try await fleet.begin("/v1/completions", decode)
        try await fleet.wait("joined", server: 2)
        // From another process it goes over the network.
        let there = try await simulator.begin(decode.replacing("r1", with: "r2"))
        try await fleet.wait("joined", 2, server: 2)
        #expect(try await fleet.gauge("meetings", server: 2) == 2)
        here.hangUp()
        there.hangUp()
        try await fleet.wait(gauge: "meetings", atMost: 0, server: 2)
    }

    @Test("Offloading's legs meet by their request id")
    func meetsByRequest() async throws {
        let fleet = try Fleet(["--count", "2", "--kv-connector", "offloading"])
        let prefillBody = parameters("{\"remote_decoder\":{\"kv_request_id\":\"r1\"}}")
        #expect(try await fleet.post("/v1/completions", prefillBody).status == 200)
        let decodeBody = parameters(
            "{\"remote_prefiller\":{\"kv_request_id\":\"r1\",\"remote_host\":\"127.0.0.1\",\"remote_port\":\(fleet.ports[0])}}"
        )
        #expect(try await fleet.post("/v1/completions", decodeBody, server: 1).status == 200)
        #expect(try await fleet.audit(1).integer("legs.0.external_tokens") == 100)
        let old = parameters("{\"remote_prefiller\":{\"kv_request_id\":\"r1\"}}")
        #expect(try await fleet.post("/v1/completions", old, server: 1).status == 200)
        #expect(try await fleet.counter("partial_params", server: 1) == 1)
    }
}
