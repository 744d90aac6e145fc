import Foundation
import FoundationNetworking

/// A running `apus-sim`, ended when nobody holds it any more.
final class Simulator {
    enum Failure: Error {
        case exited(Int32, String)
        case noAnswer
    }

    struct Answer {
        let status: Int
        let headers: [String: String]
        let body: String

        var json: [String: Any] {
            (try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any]) ?? [:]
        }

        /// The values of a path of members and indices such as `choices.0.text`.
        func value(_ path: String) -> Any? {
            var value: Any? = try? JSONSerialization.jsonObject(with: Data(body.utf8))
            for part in path.split(separator: ".") {
                if let index = Int(part), let list = value as? [Any] {
                    value = list.indices.contains(index) ? list[index] : nil
                } else {
                    value = (value as? [String: Any])?[String(part)]
                }
            }
            return value
        }

        func integer(_ path: String) -> Int? { value(path) as? Int }
        func string(_ path: String) -> String? { value(path) as? String }

        /// The data of the server-sent events.
        var events: [String] {
            body.components(separatedBy: "\n").filter { $0.hasPrefix("data: ") }.map { String($0.dropFirst(6)) }
        }
    }

    let process = Process()
    let ports: [Int]

    /// Starts it with these flags and waits until it is ready.
    init(_ arguments: String...) throws {
        process.executableURL = Self.binary
        process.arguments = ["--port", "0", "--model", "tiny", "--seed", "1"] + arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        var text = ""
        while !text.hasSuffix("ready\n") {
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else {
                process.waitUntilExit()
                throw Failure.exited(process.terminationStatus, text)
            }
            text += String(decoding: data, as: UTF8.self)
        }
        ports = text.split(separator: "\n").compactMap { $0.split(separator: ":").last.flatMap { Int($0) } }
    }

    deinit {
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
    }

    /// Beside the program that runs the tests.
    static var binary: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("apus-sim")
    }

    /// Runs it to its end; for flags that it refuses or that only print.
    static func run(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        let process = Process()
        process.executableURL = binary
        process.arguments = arguments
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text, complaint)
    }

    func get(_ path: String, server: Int = 0) async throws -> Answer {
        try await send(request(path, server: server))
    }

    func post(
        _ path: String,
        _ body: String,
        headers: [String: String] = [:],
        server: Int = 0
    ) async throws -> Answer {
        try await send(request(path, body: Data(body.utf8), headers: headers, server: server))
    }

    func request(
        _ path: String,
        body: Data? = nil,
        headers: [String: String] = [:],
        server: Int = 0
    ) throws -> URLRequest {
        guard let url = URL(string: "http://127.0.0.1:\(ports[server])\(path)") else { throw Failure.noAnswer }
        var request = URLRequest(url: url)
        request.timeoutInterval = 30
        request.httpBody = body
        request.httpMethod = body == nil ? "GET" : "POST"
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        return request
    }

    func send(_ request: URLRequest) async throws -> Answer {
        let (data, response) = try await URLSession.shared.data(for: request)
        guard let http = response as? HTTPURLResponse else { throw Failure.noAnswer }
        var headers: [String: String] = [:]
        for (name, value) in http.allHeaderFields { headers["\(name)".lowercased()] = "\(value)" }
        return Answer(status: http.statusCode, headers: headers, body: String(decoding: data, as: UTF8.self))
    }

    /// The value of the first sample whose line begins so.
    func metric(_ name: String, server: Int = 0) async throws -> Double? {
        let page = try await get("/metrics", server: server).body
        let line = page.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(separator: " ").last.flatMap { Double($0) }
    }
}
