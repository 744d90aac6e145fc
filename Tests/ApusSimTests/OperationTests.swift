import Foundation
import FoundationNetworking
import TestSupport
import Testing

private let slow = "{\"model\":\"tiny\",\"prompt\":\"hi\",\"max_tokens\":900,\"ignore_eos\":true,\"stream\":true}"

@Suite("Load, faults and metrics")
struct OperationTests {
    /// Waits until a page of the server says so.
    private func until(_ condition: () async throws -> Bool) async throws {
        while try await !condition() { try await Task.sleep(for: .milliseconds(5)) }
    }

    @Test("A client that leaves frees its place in the batch, and the log tells", .timeLimit(.minutes(1)))
    func abortsForThoseWhoLeave() async throws {
        let simulator = try Simulator(
            "--inter-token-latency",
            "1s",
            "--max-num-seqs",
            "1",
            "--max-waiting-queue-length",
            "1"
        )
        var clients: [Socket] = []
        for number in 0..<2 {
            clients.append(try await simulator.begin(slow, headers: ["x-request-id": "r\(number)"]))
        }
        try await until { try await simulator.metric("vllm:num_requests_waiting{") == 1 }
        #expect(try await simulator.metric("vllm:num_requests_running{") == 1)
        #expect(try await simulator.metric("vllm:kv_cache_usage_perc{") == 1.0 / 1024)
        let tooMany = try await simulator.post("/v1/completions", slow)
        #expect(tooMany.status == 429)
        for client in clients { client.hangUp() }
        try await until { try await simulator.metric("vllm:num_requests_running{") == 0 }
        try await until {
            let log = try await simulator.get("/admin/requests")
            return (0..<2).allSatisfy { log.string("\($0).status") == "aborted" }
        }
        #expect(try await simulator.metric("vllm:kv_cache_usage_perc{") == 0)
        let aborted = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\""
        #expect(try await simulator.metric(aborted) == 2)
    }

    @Test("The log keeps what arrived: id, headers, body and its length")
    func logsRequests() async throws {
        let simulator = try Simulator("--enable-request-id-headers")
        let body = "{\"model\":\"tiny\",\"prompt\":\"hi\"}"
        let answer = try await simulator.post(
            "/v1/completions",
            body,
            headers: ["X-Request-Id": "abc", "X-Extra": "1"]
        )
        #expect(answer.string("id") == "cmpl-abc")
        #expect(answer.headers["x-request-id"] == "abc")
        let log = try await simulator.get("/admin/requests")
        #expect(log.string("0.id") == "abc")
        #expect(log.string("0.status") == "finished")
        #expect(log.string("0.body") == body)
        #expect(log.integer("0.body_length") == body.utf8.count)
        let headers = try #require(log.value("0.headers") as? [[String]])
        #expect(headers.contains { $0[0].lowercased() == "x-extra" && $0[1] == "1" })
    }

    @Test("Fake values are told exactly until they are taken back")
    func fakesMetrics() async throws {
        let simulator = try Simulator(
            "--count",
            "2",
            "--fake-metrics",
            "{\"waiting-requests\":3,\"running-requests\":1,\"kv-cache-usage\":0.2,"
                + "\"loras\":[{\"running\":\"a,b\",\"waiting\":\"c\",\"timestamp\":1257894567}]}"
        )
        let page = try await simulator.get("/metrics").body
        for line in [
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"tiny\"} 3.0",
            "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} 1.0",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} 0.2",
            "vllm:lora_requests_info{max_lora=\"1\",running_lora_adapters=\"a,b\",waiting_lora_adapters=\"c\"}"
                + " 1.257894567e+09",
        ] {
            #expect(page.contains(line + "\n"))
        }
        let change = "{\"fake-metrics\":{\"waiting-requests\":7}}"
        #expect(try await simulator.post("/admin/config", change).status == 200)
        #expect(try await simulator.metric("vllm:num_requests_waiting{") == 7)
        #expect(try await simulator.metric("vllm:num_requests_running{") == 1)
        #expect(try await simulator.metric("vllm:num_requests_waiting{", server: 1) == 3)
        _ = try await simulator.post("/admin/config", "{\"fake-metrics\":null}")
        #expect(try await simulator.metric("vllm:num_requests_waiting{") == 0)
    }

    @Test("The metrics page is as large as a real one, and every sample has a type, a value and its line once")
    func rendersThePage() async throws {
        let simulator = try Simulator(
            "--served-model-name",
            "a \\\"quoted\\\" one",
            "--block-size",
            "32",
            "--kv-cache-size",
            "512"
        )
        let page = try await simulator.get("/metrics").body
        #expect((45_000...60_000).contains(page.utf8.count))
        var typed: Set<Substring> = []
        var seen: Set<Substring> = []
        for line in page.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") { typed.insert(line.split(separator: " ")[2]) }
            if line.hasPrefix("#") { continue }
            let end = try #require(line.lastIndex(of: " "))
            #expect(Double(line[line.index(after: end)...]) != nil)
            #expect(seen.insert(line[..<end]).inserted)
            let name = line.prefix { $0 != "{" && $0 != " " }
            let family = ["_bucket", "_count", "_sum"].first { name.hasSuffix($0) }.map { name.dropLast($0.count) }
            #expect(typed.contains(name) || family.map(typed.contains) == true)
        }
        #expect(seen.count > 400)
        #expect(page.contains(",block_size=\"32\","))
        #expect(page.contains(",num_gpu_blocks=\"512\","))
    }

    @Test("Histograms and counters add up")
    func counts() async throws {
        let simulator = try Simulator()
        for _ in 0..<3 {
            let body = "{\"model\":\"tiny\",\"prompt\":\"hi\",\"max_tokens\":4,\"ignore_eos\":true}"
            _ = try await simulator.post("/v1/completions", body)
        }
        for (name, value) in [
            ("vllm:time_to_first_token_seconds_count{", 3), ("vllm:inter_token_latency_seconds_count{", 9),
            ("vllm:e2e_request_latency_seconds_bucket{engine=\"0\",le=\"0.3\"", 3),
            ("vllm:generation_tokens_total{", 12), ("vllm:request_generation_tokens_sum{", 12),
            ("vllm:request_success_total{engine=\"0\",finished_reason=\"length\"", 3),
        ] as [(String, Double)] {
            #expect(try await simulator.metric(name) == value, "\(name)")
        }
    }

    @Test("Requests may ask for an error, and errors can be injected")
    func injectsErrors() async throws {
        let simulator = try Simulator("--failure-injection-rate", "100", "--failure-types", "rate_limit")
        let body = "{\"model\":\"tiny\",\"prompt\":\"hi\"}"
        #expect(try await simulator.post("/v1/completions", body).status == 429)
        #expect(try await simulator.post("/v1/completions", body, headers: ["X-Return-Error": "503"]).status == 503)
        #expect(try await simulator.post("/admin/config", "{\"failure-injection-rate\":0}").status == 200)
        #expect(try await simulator.post("/v1/completions", body).status == 200)
    }

    @Test("Faults can be switched on and off at run time", .timeLimit(.minutes(1)))
    func switchesFaults() async throws {
        let simulator = try Simulator()
        let body = "{\"model\":\"tiny\",\"prompt\":\"hi\"}"
        _ = try await simulator.post("/admin/config", "{\"metrics-status\":500,\"health-status\":503,\"drop\":true}")
        #expect(try await simulator.get("/metrics").status == 500)
        #expect(try await simulator.get("/health").status == 503)
        await #expect(throws: (any Error).self) { try await simulator.post("/v1/completions", body) }
        _ = try await simulator.post("/admin/config", "{\"drop\":false,\"hang\":true}")
        let hanging = try await simulator.begin(body)
        try await until { try await simulator.get("/admin/requests").string("1.status") == "hanging" }
        hanging.hangUp()
        try await until { try await simulator.get("/admin/requests").string("1.status") == "aborted" }
        _ = try await simulator.post("/admin/config", "{\"hang\":false,\"cut-after-tokens\":3}")
        await #expect(throws: (any Error).self) { try await simulator.post("/v1/completions", slow) }
        let log = try await simulator.get("/admin/requests")
        #expect(log.string("0.status") == "dropped")
        #expect(log.string("2.status") == "cut")
        let unknown = try await simulator.post("/admin/config", "{\"metrics-status\":200,\"nonsense\":1}")
        #expect(unknown.status == 400)
        #expect(unknown.string("error.message") == "nonsense: is not known")
        // Nothing of a change that is refused is made.
        #expect(try await simulator.get("/metrics").status == 500)
    }

    @Test("SIGTERM ends it at once, whatever is open", .timeLimit(.minutes(1)))
    func ends() async throws {
        let simulator = try Simulator("--count", "20", "--inter-token-latency", "1s")
        let client = try await simulator.begin(slow)
        try await until { try await simulator.metric("vllm:num_requests_running{") == 1 }
        simulator.terminate()
        #expect(simulator.end() == .exited(0))
        client.hangUp()
    }

    @Test(
        "Flags that make no sense are refused with a line that names them",
        arguments: [
            (["--nonsense"], "--nonsense is not known; see --help"),
            (["--model", "m", "--port", "70000"], "--port: 70000 is no whole number from 0 to 65535"),
            (["--model", "m", "--block-size", "24"], "--block-size: 24 is not 8, 16, 32, 64 or 128"),
            (
                ["--model", "m", "--time-to-first-token", "soon"],
                "--time-to-first-token: soon is no duration such as 100ms"
            ),
            (
                ["--model", "m", "--inter-token-latency=10ms", "--inter-token-latency-std-dev=4ms"],
                "inter-token-latency-std-dev must not be more than 30 % of inter-token-latency"
            ),
            (["--model"], "--model: needs a value"),
            (["--model", "m", "--fake-metrics", "{\"x\":1}"], "--fake-metrics: fake-metrics: x is not known"),
        ] as [([String], String)]
    )
    func refusesFlags(arguments: [String], message: String) throws {
        let result = try Simulator.run(arguments)
        #expect(result.status == .exited(2))
        #expect(result.errors == "apus-sim: \(message)\n")
    }

    @Test("Help lists every flag with its default")
    func helps() throws {
        let result = try Simulator.run(["--help"])
        #expect(result.status == .exited(0))
        for flag in ["--count", "--max-num-seqs", "--kv-cache-size", "--fake-metrics", "--failure-types"] {
            #expect(result.output.contains(flag))
        }
    }
}
