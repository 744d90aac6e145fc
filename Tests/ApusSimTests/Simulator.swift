import Foundation
import FoundationNetworking
import TestSupport

/// A running `apus-sim`, ended when nobody holds it any more.
final class Simulator {
    enum Failure: Error {
        case ended(Spawning.Status, String)
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

    let ports: [Int]
    private let pid: pid_t
    private var status: Spawning.Status?

    /// Starts it with these flags and waits until it is ready.
    init(_ arguments: String...) throws {
        let output = Pipe()
        pid = try Self.start(["--port", "0", "--model", "tiny", "--seed", "1"] + arguments, output)
        var text = ""
        while !text.hasSuffix("ready\n") {
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else { break }
            text += String(decoding: data, as: UTF8.self)
        }
        ports = text.split(separator: "\n").compactMap { $0.split(separator: ":").last.flatMap { Int($0) } }
        guard text.hasSuffix("ready\n") else { throw Failure.ended(end(), text) }
    }

    deinit {
        terminate()
        end()
    }

    func terminate() {
        // Once it has been waited for, its number may be another's.
        if status == nil { kill(pid, SIGTERM) }
    }

    /// Waits until it has ended, and says how.
    @discardableResult
    func end() -> Spawning.Status {
        if let status { return status }
        Spawning.awaitEnd(pid)
        let ended = Spawning.reap(pid)
        status = ended
        return ended
    }

    /// Beside the program that runs the tests.
    static var binary: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("apus-sim")
    }

    /// Runs it to its end; for flags that it refuses or that only print.
    static func run(_ arguments: [String]) throws -> (status: Spawning.Status, output: String, errors: String) {
        let output = Pipe()
        let errors = Pipe()
        let pid = try start(arguments, output, errors)
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        Spawning.awaitEnd(pid)
        return (Spawning.reap(pid), text, complaint)
    }

    // Not Foundation's Process: with many open files it reads past the names of them, and may fall over.
    private static func start(_ arguments: [String], _ output: Pipe, _ errors: Pipe? = nil) throws -> pid_t {
        defer {
            try? output.fileHandleForWriting.close()
            try? errors?.fileHandleForWriting.close()
        }
        return try Spawning.start(
            [binary.path] + arguments,
            environment: ProcessInfo.processInfo.environment.map { "\($0)=\($1)" },
            output: output.fileHandleForWriting.fileDescriptor,
            errors: errors?.fileHandleForWriting.fileDescriptor ?? STDERR_FILENO
        )
    }

    func get(_ path: String, server: Int = 0) async throws -> Answer {
        try await send(request(path), server: server)
    }

    func post(
        _ path: String,
        _ body: String,
        headers: [String: String] = [:],
        server: Int = 0
    ) async throws -> Answer {
        try await send(request(path, body: Data(body.utf8), headers: headers), server: server)
    }

    func request(
        _ path: String,
        body: Data? = nil,
        headers: [String: String] = [:]
    ) -> TestRequest {
        TestRequest(
            body == nil ? "GET" : "POST",
            path,
            headers: headers.map { ($0.key, $0.value) },
            body: body.map { .fixed(Array($0)) } ?? .none
        )
    }

    func send(_ request: TestRequest, server: Int = 0) async throws -> Answer {
        try await Self.send(request, port: ports[server])
    }

    static func send(_ request: TestRequest, port: Int) async throws -> Answer {
        let response = try await HTTPTestClient(port: port).send(request)
        let headers = Dictionary(
            response.headers.map { ($0.name.lowercased(), $0.value) },
            uniquingKeysWith: { first, _ in first }
        )
        return Answer(status: response.status, headers: headers, body: response.text)
    }

    /// Sends a completion request and reads nothing; the client leaves with `hangUp()`.
    func begin(_ body: String, headers: [String: String] = [:]) async throws -> Socket {
        let socket = try await Socket.connect(port: ports[0])
        let fields = headers.map { "\($0.key): \($0.value)\r\n" }.joined()
        let length = body.utf8.count
        let head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: \(length)\r\n\(fields)\r\n"
        try await socket.write(Array((head + body).utf8))
        return socket
    }

    /// The value of the first sample whose line begins so.
    func metric(_ name: String, server: Int = 0) async throws -> Double? {
        let page = try await get("/metrics", server: server).body
        let line = page.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(separator: " ").last.flatMap { Double($0) }
    }
}
