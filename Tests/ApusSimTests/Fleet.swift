import Foundation
import TestSupport
import apus_sim

/// Simulated servers in this process, and the requests that tests make.
final class Fleet: Sendable {
    let servers: SimulatedFleet

    init(_ arguments: [String]) throws {
        servers = try SimulatedFleet(["--model", "tiny", "--seed", "1"] + arguments)
    }

    var ports: [Int] { servers.ports }

    /// A prefill and a decode server that are connected by NIXL.
    static func nixl(_ more: String...) throws -> Fleet {
        try Fleet(["--count", "2", "--role", "prefill,decode", "--kv-connector", "nixl"] + more)
    }

    func send(_ request: TestRequest, server: Int) async throws -> Simulator.Answer {
        try await Simulator.send(request, port: servers.ports[server])
    }

    func get(_ path: String, server: Int = 0) async throws -> Simulator.Answer {
        try await send(TestRequest("GET", path), server: server)
    }

    func post(
        _ path: String,
        _ body: String,
        headers: [(String, String)] = [],
        server: Int = 0
    ) async throws -> Simulator.Answer {
        try await send(TestRequest("POST", path, headers: headers, body: .fixed(Array(body.utf8))), server: server)
    }

    /// On the port that no fault reaches.
    @discardableResult
    func control(_ method: String, _ path: String, _ body: String = "") async throws -> Simulator.Answer {
        let request = TestRequest(method, path, body: body.isEmpty ? .none : .fixed(Array(body.utf8)))
        return try await Simulator.send(request, port: servers.controlPort ?? 0)
    }

    /// Returns when a server has counted an event so often.
    func wait(_ event: String, _ count: Int = 1, server: Int = 0) async throws {
        let answer = try await control("GET", "/sim/wait?server=\(server)&event=\(event)&count=\(count)&timeout=30s")
        if answer.status != 200 { throw TestFailure("server \(server) does not count \(count) \(event)") }
    }

    /// Returns when a number of a server is at most this.
    func wait(gauge: String, atMost: Int, server: Int = 0) async throws {
        let answer = try await control("GET", "/sim/wait?server=\(server)&gauge=\(gauge)&at_most=\(atMost)&timeout=30s")
        if answer.status != 200 { throw TestFailure("server \(server) keeps its \(gauge)") }
    }

    func audit(_ server: Int = 0, _ query: String = "") async throws -> Simulator.Answer {
        try await control("GET", "/sim/audit?server=\(server)\(query)")
    }

    func counter(_ name: String, server: Int = 0) async throws -> Int? {
        try await audit(server).integer("counters.\(name)")
    }

    func gauge(_ name: String, server: Int = 0) async throws -> Int? {
        try await audit(server).integer("gauges.\(name)")
    }

    /// The value of the first sample whose line begins so.
    func metric(_ name: String, server: Int = 0) async throws -> Double? {
        let page = try await get("/metrics", server: server).body
        return page.split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: " ").last.flatMap {
            Double($0)
        }
    }

    /// Begins a request whose answer is not read; the client leaves with `hangUp()`.
    func begin(
        _ path: String,
        _ body: String,
        headers: [(String, String)] = [],
        server: Int = 0
    ) async throws -> Socket {
        let socket = try await Socket.connect(port: servers.ports[server])
        let fields = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
        let head = "POST \(path) HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.utf8.count)\r\n\(fields)\r\n"
        try await socket.write(Array((head + body).utf8))
        return socket
    }
}

/// A completion's body with further members.
func completion(_ more: String, prompt: String = longPrompt, maxTokens: Int = 1) -> String {
    "{\"model\":\"tiny\",\"prompt\":\(prompt),\"max_tokens\":\(maxTokens),\"ignore_eos\":true\(more.isEmpty ? "" : ",")\(more)}"
}

/// 100 tokens.
let longPrompt = "[" + (1...100).map { "\($0)" }.joined(separator: ",") + "]"

let remoteDecode = "\"kv_transfer_params\":{\"do_remote_decode\":true,\"do_remote_prefill\":false}"

extension Simulator.Answer {
    /// A member of the answer as JSON text, numbers as they were written.
    func raw(_ name: String) throws -> String {
        guard let start = body.range(of: "\"\(name)\":") else { throw TestFailure("there is no \(name) in \(body)") }
        var depth = 0
        var isString = false
        var isEscaped = false
        var end = start.upperBound
        for index in body[start.upperBound...].indices {
            let character = body[index]
            if isEscaped {
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isString.toggle()
            } else if !isString, "{[".contains(character) {
                depth += 1
            } else if !isString, "}]".contains(character) {
                depth -= 1
            }
            end = body.index(after: index)
            if depth == 0, !isString { break }
        }
        return String(body[start.upperBound..<end])
    }
}
