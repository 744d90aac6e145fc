import Bytes
import Foundation

/// What a real API server told a client, byte for byte: a file of `Tests/Recordings`, which `deploy/kubernetes-record.py` makes.
package struct KubernetesRecording: Sendable {
    /// The answer to a request for a list, or for one page of it.
    package struct List: Sendable {
        let request: FakeKubernetes.Request
        package let body: String
    }

    /// One line of the watch of pods.
    package struct Event: Sendable {
        /// ADDED, MODIFIED, DELETED or BOOKMARK.
        package let type: String
        /// With its line feed.
        package let line: String
        /// Nil for a bookmark.
        package let pod: Pod?
        let version: Int
        /// As it stands in the line.
        let object: String
    }

    /// What of a pod says whether requests may go there, read by the documentation of the API and not by code of ours.
    package struct Pod: Sendable, Equatable {
        package let name: String
        package let namespace: String
        package let labels: [String: String]
        /// "" while it has none.
        package let address: String
        package let isReady: Bool
        /// Somebody has asked for its end.
        package let isEnding: Bool

        package var takesRequests: Bool { isReady && !isEnding && !address.isEmpty }

        init(_ object: [String: Any]) throws {
            guard let metadata = object["metadata"] as? [String: Any], let name = metadata["name"] as? String,
                let namespace = metadata["namespace"] as? String
            else { throw TestFailure("no pod: \(object)") }
            let status = object["status"] as? [String: Any] ?? [:]
            let conditions = status["conditions"] as? [[String: Any]] ?? []
            self.name = name
            self.namespace = namespace
            labels = metadata["labels"] as? [String: String] ?? [:]
            address = status["podIP"] as? String ?? ""
            isReady = conditions.contains { $0["type"] as? String == "Ready" && $0["status"] as? String == "True" }
            isEnding = metadata["deletionTimestamp"] != nil
        }
    }

    package let lists: [List]
    package let events: [Event]
    /// Those of the list, by name.
    package let pods: [String: Pod]
    /// The path of the collection that is watched.
    package let path: String
    /// Of the list from which the watch begins.
    let version: Int

    /// Reads `Tests/Recordings/NAME.txt`.
    ///
    /// - Parameter port: takes the place of the one port of the recorded pool, 8000. All else stays as it was recorded.
    package init(_ name: String, port: Int = 8000) throws {
        let text = try String(contentsOfFile: "\(Products.root)/Tests/Recordings/\(name).txt", encoding: .utf8)
        var lists: [List] = []
        var events: [Event] = []
        var watched: FakeKubernetes.Request?
        var lines = text.split(separator: "\n")[...]
        while let head = lines.popFirst() {
            let words = head.split(separator: " ")
            switch words.first {
            case "#": break
            case "list" where words.count == 3:
                let body = String(lines.popFirst() ?? "").replacing(#""number":8000"#, with: #""number":\#(port)"#)
                lists.append(List(request: try Self.request(words[2]), body: body + "\n"))
            case "watch" where words.count == 3: watched = try Self.request(words[2])
            case "event": events.append(try Event(String(lines.popFirst() ?? "")))
            default: throw TestFailure("\(name): what is \"\(head)\"?")
            }
        }
        guard let watched, let version = Int(watched.query["resourceVersion"] ?? ""),
            let list = lists.last(where: { $0.request.path == watched.path })
        else { throw TestFailure("\(name) has no list and no watch") }
        self.lists = lists
        self.events = events
        self.version = version
        path = watched.path
        let items = try Self.items(list.body).map { try Pod($0) }
        pods = Dictionary(uniqueKeysWithValues: items.map { ($0.name, $0) })
    }

    private static func request(_ target: Substring) throws -> FakeKubernetes.Request {
        guard let request = FakeKubernetes.Request(head: "GET \(target) HTTP/1.1\r\n", body: "") else {
            throw TestFailure("\(target) is no path")
        }
        return request
    }

    static func items(_ list: String) throws -> [[String: Any]] {
        let object = try JSONSerialization.jsonObject(with: Data(list.utf8)) as? [String: Any]
        return object?["items"] as? [[String: Any]] ?? []
    }
}

extension KubernetesRecording.Event {
    init(_ line: String) throws {
        self.line = line + "\n"
        guard let event = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
            let type = event["type"] as? String, let object = event["object"] as? [String: Any],
            let metadata = object["metadata"] as? [String: Any],
            let version = (metadata["resourceVersion"] as? String).flatMap({ Int($0) }),
            let start = line.firstRange(of: #""object":"#)
        else { throw TestFailure("no event: \(line)") }
        self.type = type
        self.version = version
        self.object = String(line[start.upperBound...].dropLast())
        pod = type == "BOOKMARK" ? nil : try KubernetesRecording.Pod(object)
    }

    /// Does to pods by name what the event tells of.
    package func apply(to pods: inout [String: KubernetesRecording.Pod]) {
        guard let pod else { return }
        pods[pod.name] = type == "DELETED" ? nil : pod
    }
}

extension FakeKubernetes {
    /// Holds what the recorded lists hold, and answers their requests with the recorded bodies until the first event is played.
    package func load(_ recording: KubernetesRecording) throws {
        let objects = try recording.lists.map { list in
            try KubernetesRecording.items(list.body).map { item in
                let data = try JSONSerialization.data(withJSONObject: item, options: [.sortedKeys])
                guard let object = FakeObject(json: String(decoding: data, as: UTF8.self)) else {
                    throw TestFailure("an object without a name in \(list.body)")
                }
                return object
            }
        }
        state.withLock { state in
            state.version = recording.version
            state.recorded = recording.lists
            for (list, objects) in zip(recording.lists, objects) {
                for object in objects {
                    state.collections[list.request.path, default: .init()].objects[object.name] = object
                }
            }
        }
    }

    /// Tells a recorded event, as it was recorded, to the watches that there are and to those that go on from before.
    package func play(_ event: KubernetesRecording.Event, of recording: KubernetesRecording) throws {
        guard event.pod != nil else { return send(event.line, to: recording.path) }
        guard let object = FakeObject(json: event.object) else { throw TestFailure("no object: \(event.line)") }
        state.withLock { state in
            state.recorded = []
            state.version = event.version
            state.record(recording.path, object, isDeleted: event.type == "DELETED", line: event.line)
        }
    }
}
