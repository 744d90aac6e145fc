import Foundation
import TestSupport

/// The real `apus`, on ports that the system chose.
final class Apus: Sendable {
    let process: ChildProcess
    let externalProcessorPort: Int
    let healthPort: Int
    let metricsPort: Int

    /// What every test passes unless it says otherwise.
    static let standardArguments = [
        "--bind-address=127.0.0.1", "--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0",
        "--secure-serving=false", "--log-format=json", "--drain-timeout=1s",
    ]

    /// Starts `apus` and returns once it listens.
    init(_ arguments: [String], environment: [String: String] = [:]) async throws {
        process = try ChildProcess(
            Products.executable("apus"),
            Self.standardArguments + arguments,
            environment: environment
        )
        externalProcessorPort = try await Self.port(in: process.waitForLine(containing: "ext_proc listening on "))
        healthPort = try await Self.port(in: process.waitForLine(containing: "gRPC health listening on "))
        metricsPort = try await Self.port(in: process.waitForLine(containing: "metrics listening on "))
    }

    private static func port(in line: String) throws -> Int {
        let message = try JSON(text: line)["message"].string ?? ""
        guard let port = message.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw TestFailure("no port in \"\(line)\"")
        }
        return port
    }

    /// Runs `apus` with arguments with which it ends by itself.
    static func run(_ arguments: [String]) async throws -> (status: ChildProcess.ExitStatus, output: String) {
        let process = try ChildProcess(Products.executable("apus"), arguments)
        let status = try await process.waitForExit()
        // The last of the output may come a moment after the end.
        _ = try? await process.waitForLine { _ in false }
        return (status, process.output)
    }

    // MARK: What it tells

    func page(_ path: String) async throws -> TestResponse {
        try await HTTPTestClient(port: metricsPort).get(path)
    }

    /// `/debug/endpoints`, by port.
    func endpoints() async throws -> [Int: JSON] {
        let list = try await JSON(text: page("/debug/endpoints").text)["endpoints"].array
        return Dictionary(list.map { ($0["port"].int ?? 0, $0) }, uniquingKeysWith: { $1 })
    }

    /// The sum of the requests in flight.
    func requestsInFlight() async throws -> Int {
        try await endpoints().values.reduce(0) { $0 + ($1["inFlight"]["requests"].int ?? 0) }
    }

    /// The sum of the tokens in flight.
    func tokensInFlight() async throws -> Int {
        try await endpoints().values.reduce(0) { $0 + ($1["inFlight"]["tokens"].int ?? 0) }
    }

    func waitUntilIdle() async throws {
        try await eventually("nothing in flight") {
            let endpoints = try await endpoints().values
            return endpoints.allSatisfy { $0["inFlight"]["requests"].int == 0 && $0["inFlight"]["tokens"].int == 0 }
        }
    }

    /// Waits until all endpoints, or those with these ports, have been scraped.
    func waitUntilFresh(_ ports: [Int]? = nil) async throws {
        try await eventually("every endpoint is fresh") {
            let endpoints = try await endpoints()
            return (ports ?? Array(endpoints.keys)).allSatisfy { endpoints[$0]?["fresh"].bool == true }
        }
    }

    /// Waits until a metric of the endpoint with this port has a value.
    func wait(for metric: String, of port: Int, toBe value: Double) async throws {
        try await eventually("\(metric) of port \(port) is \(value)") {
            try await endpoints()[port]?["metrics"][metric].double == value
        }
    }

    /// The decision about a request.
    func decision(_ requestID: String) async throws -> JSON {
        let decisions = try await JSON(text: page("/debug/decisions").text)["decisions"].array
        guard let decision = decisions.first(where: { $0["requestId"].string == requestID }) else {
            throw TestFailure("no decision about \(requestID) among \(decisions.count)")
        }
        return decision
    }

    /// The ports that a decision named, in order.
    func picked(_ requestID: String) async throws -> [Int] {
        let profiles = try await decision(requestID)["profiles"].array
        return (profiles.last?["picked"].array ?? []).compactMap { endpoint in
            endpoint.string?.split(separator: ":").last.flatMap { Int($0) }
        }
    }

    /// The access-log line of a request, once it is there.
    func accessLine(_ requestID: String) async throws -> JSON {
        try await JSON(text: process.waitForLine(containing: "\"requestId\":\"\(requestID)\""))
    }

    /// The values of `/metrics` by series.
    func metrics() async throws -> [String: Double] {
        let lines = try await page("/metrics").text.split(separator: "\n")
        return Dictionary(
            lines.compactMap { line in
                guard !line.hasPrefix("#"), let space = line.lastIndex(of: " ") else { return nil }
                return Double(line[line.index(after: space)...]).map { (String(line[..<space]), $0) }
            },
            uniquingKeysWith: { $1 }
        )
    }

    /// The sum of all series of a metric.
    func metric(_ name: String) async throws -> Double? {
        let series = try await metrics().filter { $0.key == name || $0.key.hasPrefix(name + "{") }
        return series.isEmpty ? nil : series.values.reduce(0, +)
    }
}
