import Bytes
import Foundation

/// An API server for tests that speaks Kubernetes' wire: lists with pages, watches with bookmarks and expired versions, optimistic writes, reviews
/// of tokens and permissions. What a real one refuses it refuses as well.
///
/// Objects are found under the path of their collection, such as `/api/v1/namespaces/default/pods`. Collections under `/api/` are always there,
/// those under `/apis/` once they are installed or hold an object.
package final class FakeKubernetes: Sendable {
    package struct Request: Sendable {
        package let method: String
        package let path: String
        package let query: [String: String]
        /// Lower-case names.
        package let headers: [String: String]
        package let body: String

        package var isWatch: Bool { query["watch"] == "true" }
    }

    /// What a test answers in the server's place.
    package enum Answer: Sendable {
        case status(Int, headers: HTTPFields = [], body: String = #"{"kind":"Status","message":"as the test says"}"#)
        /// These bytes in chunks of their own, with a pause between two, then the end.
        case chunks([String], pause: Duration = .zero)
        /// A list as long as wanted: this many pieces, each made when it is sent.
        case pieces(Int, @Sendable (Int) -> String)
        /// The end of the connection.
        case drop
    }

    struct Change: Sendable {
        let version: Int
        let type: String
        let object: FakeObject
        /// As they were before; nil for an object that is new.
        let labelsBefore: [String: String]?
        /// What every watch is told instead; nil when the change says it.
        var recordedLine: String?
    }

    struct Collection: Sendable {
        var objects: [String: FakeObject] = [:]
        var changes: [Change] = []
    }

    enum Command: Sendable {
        case change(Change)
        case raw(String)
        case end
        case cut
    }

    struct State {
        var version = 1000
        var collections: [String: Collection] = [:]
        var pages: [String: [FakeObject]] = [:]
        var watches: [Int: Watch] = [:]
        var lastWatch = 0
        /// Watches from before this are too old.
        var compacted = 0
        var uid = 0
        var readers: [String: Reader] = [:]
        /// Lists whose answers are given as they were recorded.
        var recorded: [KubernetesRecording.List] = []
    }

    struct Watch: Sendable {
        let path: String
        let takesBookmarks: Bool
        let commands: AsyncStream<Command>.Continuation
    }

    /// Somebody whose token reviews know.
    struct Reader: Sendable {
        let name: String
        let paths: Set<String>
    }

    let state = Lock(State())
    private let override = Lock<(@Sendable (Request) -> Answer?)?>(nil)
    package let requests = EventLog<Request>()
    private let server: RawServer

    package init() throws {
        let box = WeakBox()
        server = try RawServer { connection in
            while let fake = box.fake, let (head, body) = try await connection.request() {
                guard let request = Request(head: head, body: body) else { return }
                guard try await fake.serve(request, connection) else { return connection.socket.hangUp() }
            }
        }
        box.set(self)
    }

    package var url: String { "http://127.0.0.1:\(server.port)" }

    /// A kubeconfig that leads here.
    package func kubeconfig(namespace: String = "default", user: String = "token: secret") -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: test
        contexts:
        - name: test
          context: {cluster: fake, user: me, namespace: \(namespace)}
        clusters:
        - name: fake
          cluster: {server: "\(url)"}
        users:
        - name: me
          user: {\(user)}
        """
    }

    /// Sees each request first; nil: the server answers itself.
    package func answer(_ answer: (@Sendable (Request) -> Answer?)?) {
        override.withLock { $0 = answer }
    }

    /// Answers nobody and ends all watches, or comes back.
    package func setDown(_ isDown: Bool) {
        guard isDown else { return answer(nil) }
        answer { _ in Answer.drop }
        command(.cut)
    }

    // MARK: Objects

    /// Makes a collection known.
    package func install(_ path: String) {
        state.withLock { state in
            if state.collections[path] == nil { state.collections[path] = Collection() }
        }
    }

    package func uninstall(_ path: String) {
        state.withLock { $0.collections[path] = nil }
        command(.end, path: path)
    }

    /// Makes or changes an object; returns its version. `json` needs `metadata.name`; the server's own members are added.
    @discardableResult
    package func put(_ path: String, _ json: String) throws -> Int {
        guard let object = FakeObject(json: json) else { throw TestFailure("no object: \(json)") }
        return state.withLock { state in state.put(path, object) }
    }

    package func delete(_ path: String, _ name: String) {
        state.withLock { $0.delete(path, name) }
    }

    package func object(_ path: String, _ name: String) -> String? {
        state.withLock { $0.collections[path]?.objects[name]?.text }
    }

    // MARK: Watches

    package var watchCount: Int { state.withLock { $0.watches.count } }

    /// Ends watches as a server does whose time for them is up.
    package func endWatches(_ path: String? = nil) { command(.end, path: path) }

    /// Breaks them off in the middle.
    package func cutWatches(_ path: String? = nil) { command(.cut, path: path) }

    /// Sends watches this text as it is.
    package func send(_ text: String, to path: String) { command(.raw(text), path: path) }

    /// Tells the watches that want to know how far the server is, or may pretend to be.
    package func bookmark(_ path: String, version: Int? = nil) {
        let (watches, now) = state.withLock { state in
            (state.watches.values.filter { $0.path == path && $0.takesBookmarks }, state.version)
        }
        let (kind, group) = Self.kind(of: path)
        let metadata = #"{"resourceVersion":"\#(version ?? now)","creationTimestamp":null}"#
        let rest = kind == "Pod" ? #","spec":{"containers":null},"status":{}"# : ""
        let object = #"{"kind":"\#(kind)","apiVersion":"\#(group)","metadata":\#(metadata)\#(rest)}"#
        for watch in watches { watch.commands.yield(.raw(#"{"type":"BOOKMARK","object":\#(object)}"# + "\n")) }
    }

    /// Forgets the changes so far: watches from before end with an `ERROR` event.
    package func compact() {
        state.withLock { state in
            state.version += 1
            state.compacted = state.version
            state.pages = [:]
            for path in state.collections.keys { state.collections[path]?.changes = [] }
        }
    }

    private func command(_ command: Command, path: String? = nil) {
        let watches = state.withLock { state in
            state.watches.values.filter { path == nil || $0.path == path }.map(\.commands)
        }
        for watch in watches { watch.yield(command) }
    }

    // MARK: Requests

    /// False when the connection must end.
    private func serve(_ request: Request, _ connection: RawConnection) async throws -> Bool {
        requests.append(request)
        switch override.withLock({ $0 })?(request) {
        case .drop?: return false
        case .status(let status, let headers, let body)?:
            try await connection.respond("\(status) X", headers: headers, body: body)
            return true
        case .chunks(let chunks, let pause)?:
            try await connection.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for chunk in chunks {
                try await connection.write(Self.chunk(chunk))
                if pause > .zero { try await Task.sleep(for: pause) }
            }
            try await connection.write("0\r\n\r\n")
            return true
        case .pieces(let count, let piece)?:
            try await connection.write(Self.chunkedHead)
            for index in 0..<count { try await connection.write(Self.chunk(piece(index))) }
            try await connection.write("0\r\n\r\n")
            return true
        case nil: break
        }
        if request.isWatch { return try await watch(request, connection) }
        let answer = state.withLock { $0.answer(request) }
        guard answer.status == 200, answer.isList else {
            try await connection.respond(
                "\(answer.status) X",
                headers: [("content-type", answer.contentType)],
                body: answer.body
            )
            return true
        }
        // Lists come as they are written, in pieces that end anywhere.
        try await connection.write(Self.chunkedHead)
        var rest = Array(answer.body.utf8)[...]
        while !rest.isEmpty {
            let piece = String(decoding: rest.prefix(4093), as: UTF8.self)
            rest = rest.dropFirst(4093)
            try await connection.write(Self.chunk(piece))
        }
        try await connection.write("0\r\n\r\n")
        return true
    }

    private func watch(_ request: Request, _ connection: RawConnection) async throws -> Bool {
        let (commands, continuation) = AsyncStream.makeStream(of: Command.self)
        let from = Int(request.query["resourceVersion"] ?? "") ?? 0
        let (number, refusal) = state.withLock { state -> (Int, Answered?) in
            if let refusal = state.refusal(request) { return (0, refusal) }
            if from < state.compacted {
                let message = "too old resource version: \(from) (\(state.compacted))"
                let status = State.status(410, message, reason: "Expired").body
                continuation.yield(.raw(#"{"type":"ERROR","object":\#(status)}"# + "\n"))
                continuation.yield(.end)
                return (0, nil)
            }
            for change in state.collections[request.path]?.changes ?? [] where change.version > from {
                continuation.yield(.change(change))
            }
            state.lastWatch += 1
            state.watches[state.lastWatch] = Watch(
                path: request.path,
                takesBookmarks: request.query["allowWatchBookmarks"] == "true",
                commands: continuation
            )
            return (state.lastWatch, nil)
        }
        if let refusal {
            try await connection.respond(
                "\(refusal.status) X",
                headers: [("content-type", refusal.contentType)],
                body: refusal.body
            )
            return true
        }
        let end = Int(request.query["timeoutSeconds"] ?? "").map { seconds in
            Task {
                try await Task.sleep(for: .seconds(seconds))
                continuation.yield(.end)
            }
        }
        defer {
            end?.cancel()
            state.withLock { $0.watches[number] = nil }
        }
        try await connection.write(Self.chunkedHead)
        for await command in commands {
            switch command {
            case .change(let change):
                if let line = change.line(for: request.query) { try await connection.write(Self.chunk(line)) }
            case .raw(let text): try await connection.write(Self.chunk(text))
            case .end:
                try await connection.write("0\r\n\r\n")
                return true
            case .cut: return false
            }
        }
        return false
    }

    private static let chunkedHead =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"

    private static func chunk(_ text: String) -> String {
        "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n"
    }
}

/// Lets the server's closure find the fake without keeping it alive.
private final class WeakBox: Sendable {
    private struct Content {
        weak var fake: FakeKubernetes?
    }

    private let content = Lock(Content())

    var fake: FakeKubernetes? { content.withLock { $0.fake } }

    func set(_ fake: FakeKubernetes) { content.withLock { $0.fake = fake } }
}
