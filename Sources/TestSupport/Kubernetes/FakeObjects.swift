import Foundation

/// An object of `FakeKubernetes`.
struct FakeObject: Sendable {
    let name: String
    let labels: [String: String]
    var text: String

    /// Nil when the text is no object with a name.
    init?(json: String) {
        guard let object = try? JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any],
            let metadata = object["metadata"] as? [String: Any], let name = metadata["name"] as? String
        else { return nil }
        self.name = name
        labels = metadata["labels"] as? [String: String] ?? [:]
        text = json
    }

    /// With these members of `metadata` set.
    func with(_ values: [String: String]) -> FakeObject {
        guard var object = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] else {
            return self
        }
        var metadata = object["metadata"] as? [String: Any] ?? [:]
        for (key, value) in values { metadata[key] = value }
        object["metadata"] = metadata
        var copy = self
        let data = (try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])) ?? Data()
        copy.text = String(decoding: data, as: UTF8.self)
        return copy
    }

    func metadata(_ key: String) -> String? {
        let object = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        return (object?["metadata"] as? [String: Any])?[key] as? String
    }

    func matches(_ query: [String: String]) -> Bool {
        if let field = query["fieldSelector"], field != "metadata.name=\(name)" { return false }
        return FakeSelector(query["labelSelector"])?.matches(labels) ?? false
    }
}

extension FakeKubernetes.Change {
    /// As a watch with this query tells it; nil when it does not concern it. An object that a selector loses is deleted for the watch.
    func line(for query: [String: String]) -> String? {
        if let recordedLine { return recordedLine }
        let isIn = object.matches(query)
        let wasIn = labelsBefore.map { FakeSelector(query["labelSelector"])?.matches($0) ?? false } ?? false
        let type: String
        switch (self.type, wasIn, isIn) {
        case ("DELETED", true, _): type = "DELETED"
        case ("DELETED", false, _), (_, false, false): return nil
        case (_, true, true): type = "MODIFIED"
        case (_, false, true): type = "ADDED"
        case (_, true, false): type = "DELETED"
        }
        if let field = query["fieldSelector"], field != "metadata.name=\(object.name)" { return nil }
        return #"{"type":"\#(type)","object":\#(object.text)}"# + "\n"
    }
}

extension FakeKubernetes.State {
    mutating func put(_ path: String, _ object: FakeObject) -> Int {
        version += 1
        let before = collections[path]?.objects[object.name]
        uid += before == nil ? 1 : 0
        let parts = path.split(separator: "/")
        let namespace = parts.firstIndex(of: "namespaces").map { String(parts[$0 + 1]) } ?? ""
        let complete = object.with([
            "resourceVersion": "\(version)",
            "namespace": namespace,
            "uid": before?.metadata("uid") ?? "uid-\(uid)",
            "creationTimestamp": object.metadata("creationTimestamp") ?? before?.metadata("creationTimestamp")
                ?? "2026-01-01T00:00:00Z",
        ])
        record(path, "PUT", complete, before)
        collections[path]?.objects[object.name] = complete
        return version
    }

    mutating func delete(_ path: String, _ name: String) {
        guard let before = collections[path]?.objects.removeValue(forKey: name) else { return }
        version += 1
        record(path, "DELETED", before.with(["resourceVersion": "\(version)"]), before)
    }

    /// Takes over a change that a real server told in this line.
    mutating func record(_ path: String, _ object: FakeObject, isDeleted: Bool, line: String) {
        let before = collections[path]?.objects[object.name]
        record(path, isDeleted ? "DELETED" : "PUT", object, before, line)
        collections[path]?.objects[object.name] = isDeleted ? nil : object
    }

    private mutating func record(
        _ path: String,
        _ type: String,
        _ object: FakeObject,
        _ before: FakeObject?,
        _ line: String? = nil
    ) {
        let change = FakeKubernetes.Change(
            version: version,
            type: type,
            object: object,
            labelsBefore: before?.labels,
            recordedLine: line
        )
        collections[path, default: .init()].changes.append(change)
        for watch in watches.values where watch.path == path { watch.commands.yield(.change(change)) }
    }
}

extension FakeKubernetes.Request {
    init?(head: String, body: String) {
        let lines = head.split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3, let target = URLComponents(string: String(words[1])) else { return nil }
        method = String(words[0])
        path = target.path
        query = Dictionary((target.queryItems ?? []).map { ($0.name, $0.value ?? "") }) { _, last in last }
        headers = Dictionary(
            lines.dropFirst().compactMap { line in
                line.firstIndex(of: ":").map { colon in
                    (
                        line[..<colon].lowercased(),
                        line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
                    )
                }
            }
        ) { _, last in last }
        self.body = body
    }
}

// MARK: The objects that pickers know

extension FakeKubernetes {
    package static func pods(_ namespace: String = "default") -> String { "/api/v1/namespaces/\(namespace)/pods" }

    package static func pools(_ namespace: String = "default") -> String {
        "/apis/inference.networking.k8s.io/v1/namespaces/\(namespace)/inferencepools"
    }

    package static func objectives(_ group: String = "inference.networking.x-k8s.io") -> String {
        "/apis/\(group)/v1alpha2/namespaces/default/inferenceobjectives"
    }

    package static func rewrites(_ group: String = "inference.networking.x-k8s.io") -> String {
        "/apis/\(group)/v1alpha2/namespaces/default/inferencemodelrewrites"
    }

    package static func pod(
        _ name: String,
        address: String = "10.0.0.1",
        isReady: Bool = true,
        labels: [String: String] = ["app": "vllm"],
        metadata: String = ""
    ) -> String {
        let labels = labels.sorted { $0.key < $1.key }.map { #""\#($0.key)":"\#($0.value)""# }.joined(separator: ",")
        return """
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"\(name)","labels":{\(labels)}\(metadata)},
            "spec":{"containers":[{"name":"vllm","image":"vllm"}]},
            "status":{"phase":"Running","conditions":[{"type":"Initialized","status":"True"},
            {"type":"Ready","status":"\(isReady ? "True" : "False")"}],"podIP":"\(address)"}}
            """
    }

    package static func pool(
        _ name: String,
        labels: [String: String] = ["app": "vllm"],
        ports: [Int] = [8000]
    ) -> String {
        let labels = labels.sorted { $0.key < $1.key }.map { #""\#($0.key)":"\#($0.value)""# }.joined(separator: ",")
        let ports = ports.map { #"{"number":\#($0)}"# }.joined(separator: ",")
        return """
            {"kind":"InferencePool","metadata":{"name":"\(name)","labels":{"tier":"gold"}},"spec":{"selector":{"matchLabels":{\(labels)}},
            "targetPorts":[\(ports)],"appProtocol":"http","endpointPickerRef":{"name":"epp","port":{"number":9002}}}}
            """
    }
}
