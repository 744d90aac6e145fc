import Bytes
import Foundation
import TestSupport

/// One `apus-sim` with one or more model servers.
final class Simulators: Sendable {
    /// What the servers are asked for.
    static let model = "demo"

    let ports: [Int]
    private let arguments: [String]
    private let current: Lock<ChildProcess>

    init(count: Int = 1, _ arguments: [String] = []) async throws {
        self.arguments = arguments
        let process = try Self.start(["--count", "\(count)", "--port", "0"] + arguments)
        current = Lock(process)
        _ = try await process.waitForLine(containing: "ready")
        ports = process.output.split(separator: "\n").compactMap { line in
            line.hasPrefix("listening ") ? line.split(separator: ":").last.flatMap { Int($0) } : nil
        }
    }

    private static func start(_ arguments: [String]) throws -> ChildProcess {
        let standard = ["--model", model, "--max-model-len", "10000000", "--kv-cache-size", "1000000"]
        let room = ["--max-num-seqs", "256", "--max-request-body-size-mb", "64", "--max-waiting-queue-length", "10000"]
        return try ChildProcess(Products.executable("apus-sim"), standard + room + arguments)
    }

    var process: ChildProcess { current.withLock { $0 } }
    var servers: [Simulator] { ports.map { Simulator(port: $0, process: self) } }

    /// Ends the process as a crash would.
    func kill() async throws {
        try await process.kill()
    }

    /// Starts it again on the same ports. It has one server.
    func restart() async throws {
        let process = try Self.start(["--port", "\(ports[0])"] + arguments)
        current.withLock { $0 = process }
        _ = try await process.waitForLine(containing: "ready")
    }
}

/// One simulated model server.
struct Simulator: Sendable {
    let port: Int
    let process: Simulators

    private var client: HTTPTestClient { HTTPTestClient(port: port) }

    /// Changes how the server behaves, in the words of `POST /admin/config`.
    func configure(_ json: String) async throws {
        let response = try await client.send(.post("/admin/config", json: json))
        guard response.status == 200 else { throw TestFailure("apus-sim says \(response.text)") }
    }

    /// What arrived, oldest first; the last thousand.
    func requests() async throws -> [JSON] {
        try await JSON(text: client.get("/admin/requests").text).array
    }

    /// A request that arrived with this `x-request-id`.
    func request(_ id: String) async throws -> JSON? {
        try await requests().last { $0["id"].string == id }
    }

    func forgetRequests() async throws {
        _ = try await client.send(TestRequest("DELETE", "/admin/requests"))
    }
}

extension JSON {
    /// The values of a header of a request that arrived.
    func header(_ name: String) -> [String] {
        self["headers"].array.filter { $0[0].string?.lowercased() == name }.compactMap { $0[1].string }
    }
}
