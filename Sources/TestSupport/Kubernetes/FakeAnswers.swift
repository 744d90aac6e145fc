import Bytes
import Foundation

extension FakeKubernetes {
    struct Answered {
        let status: Int
        let body: String
        var contentType = "application/json"
        var isList = false
    }

    /// Knows this token from now on, and lets its user read these paths.
    package func know(token: String, user: String, paths: Set<String> = []) {
        state.withLock { $0.readers[token] = Reader(name: user, paths: paths) }
    }

    /// What a collection's objects are called, and the version that they name.
    static func kind(of path: String) -> (kind: String, apiVersion: String) {
        let parts = path.split(separator: "/").map(String.init)
        let kinds = [
            "pods": "Pod", "leases": "Lease", "inferencepools": "InferencePool",
            "inferenceobjectives": "InferenceObjective", "inferencemodelrewrites": "InferenceModelRewrite",
        ]
        let version = parts.first == "api" ? "v1" : parts.dropFirst().prefix(2).joined(separator: "/")
        return (parts.last.flatMap { kinds[$0] } ?? "Object", version)
    }
}

extension FakeKubernetes.State {
    typealias Answered = FakeKubernetes.Answered

    mutating func answer(_ request: FakeKubernetes.Request) -> Answered {
        if request.method != "GET", request.headers["content-type"] != "application/json" {
            return Self.status(415, "the body of the request was in an unknown format", reason: "UnsupportedMediaType")
        }
        switch (request.method, request.path) {
        case ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"): return reviewToken(request.body)
        case ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"): return reviewAccess(request.body)
        case ("POST", _): return create(request)
        case ("PUT", _): return update(request)
        default: break
        }
        let (path, name) = Self.split(request.path)
        if collections[request.path] == nil, isKnown(path) {
            if let object = collections[path]?.objects[name] { return Answered(status: 200, body: object.text) }
            return Self.status(
                404,
                "\(path.split(separator: "/").last ?? "") \"\(name)\" not found",
                reason: "NotFound"
            )
        }
        return refusal(request) ?? list(request)
    }

    /// The group's own kinds are always there, others once they are installed.
    private func isKnown(_ path: String) -> Bool {
        collections[path] != nil || path.hasPrefix("/api/") && path.hasSuffix("/pods") || path.hasSuffix("/leases")
    }

    /// Why a list or a watch cannot be had; nil when it can.
    func refusal(_ request: FakeKubernetes.Request) -> Answered? {
        guard isKnown(request.path) else {
            return Answered(status: 404, body: "404 page not found\n", contentType: "text/plain; charset=utf-8")
        }
        if FakeSelector(request.query["labelSelector"]) == nil {
            return Self.status(400, "unable to parse requirement", reason: "BadRequest")
        }
        if let field = request.query["fieldSelector"], !field.hasPrefix("metadata.name=") {
            return Self.status(400, "field label not supported: \(field)", reason: "BadRequest")
        }
        let version = request.query["resourceVersion"]
        if request.query["continue"] != nil, version != nil {
            return Self.status(
                400,
                "specifying resource version is not allowed when using continue",
                reason: "BadRequest"
            )
        }
        if let version, UInt64(version) == nil {
            return Self.status(400, "invalid resource version", reason: "BadRequest")
        }
        return nil
    }

    private mutating func list(_ request: FakeKubernetes.Request) -> Answered {
        if let list = recorded.last(where: { $0.request.path == request.path && $0.request.query == request.query }) {
            return Answered(status: 200, body: list.body, isList: true)
        }
        let limit = Int(request.query["limit"] ?? "") ?? .max
        let objects: [FakeObject]
        let listVersion: Int
        if let token = request.query["continue"] {
            guard let rest = pages.removeValue(forKey: token) else {
                return Self.status(410, "The provided continue parameter is too old", reason: "Expired")
            }
            objects = rest
            listVersion = Int(token.prefix { $0 != "-" }) ?? version
        } else {
            objects = (collections[request.path]?.objects ?? [:]).values.filter { $0.matches(request.query) }
                .sorted { $0.name < $1.name }
            listVersion = version
        }
        var metadata = #""resourceVersion":"\#(listVersion)""#
        if objects.count > limit {
            let next = "\(listVersion)-\(pages.count)-\(objects.count)"
            pages[next] = Array(objects[limit...])
            metadata = #""continue":"\#(next)",\#(metadata)"#
            if request.query["labelSelector"] == nil {
                metadata += #","remainingItemCount":\#(objects.count - limit)"#
            }
        }
        let items = objects.prefix(limit).map(\.text).joined(separator: ",")
        let (kind, group) = FakeKubernetes.kind(of: request.path)
        // Kinds that are installed come with their members in the order of the alphabet.
        let body =
            request.path.hasPrefix("/api/")
            ? #"{"kind":"\#(kind)List","apiVersion":"\#(group)","metadata":{\#(metadata)},"items":[\#(items)]}"#
            : #"{"apiVersion":"\#(group)","items":[\#(items)],"kind":"\#(kind)List","metadata":{\#(metadata)}}"#
        return Answered(status: 200, body: body + "\n", isList: true)
    }

    // MARK: Writes

    private mutating func create(_ request: FakeKubernetes.Request) -> Answered {
        guard isKnown(request.path) else { return Self.status(404, "the server could not find the requested resource") }
        guard let object = FakeObject(json: request.body) else { return Self.status(400, "no object") }
        if let problem = Self.problem(request, object) { return problem }
        guard object.metadata("resourceVersion") == nil else {
            return Self.status(400, "resourceVersion should not be set on objects to be created", reason: "BadRequest")
        }
        if collections[request.path]?.objects[object.name] != nil {
            return Self.status(409, "\"\(object.name)\" already exists", reason: "AlreadyExists")
        }
        _ = put(request.path, object)
        return Answered(status: 201, body: collections[request.path]?.objects[object.name]?.text ?? "")
    }

    private mutating func update(_ request: FakeKubernetes.Request) -> Answered {
        let (path, name) = Self.split(request.path)
        guard let object = FakeObject(json: request.body), object.name == name else {
            return Self.status(400, "the name of the object does not match the name on the URL", reason: "BadRequest")
        }
        guard let known = collections[path]?.objects[name] else {
            return Self.status(404, "not found", reason: "NotFound")
        }
        if let problem = Self.problem(request, object) { return problem }
        guard let version = object.metadata("resourceVersion"), !version.isEmpty else {
            return Self.status(422, "metadata.resourceVersion: must be specified for an update", reason: "Invalid")
        }
        if version != known.metadata("resourceVersion") {
            return Self.status(409, "the object has been modified", reason: "Conflict")
        }
        _ = put(path, object)
        return Answered(status: 200, body: collections[path]?.objects[name]?.text ?? "")
    }

    /// What the API has against a lease; nil when nothing, or when it is none.
    private static func problem(_ request: FakeKubernetes.Request, _ object: FakeObject) -> Answered? {
        guard request.path.contains("/leases") else { return nil }
        let root = try? JSONSerialization.jsonObject(with: Data(object.text.utf8)) as? [String: Any]
        guard let root, root["kind"] as? String == "Lease",
            root["apiVersion"] as? String == "coordination.k8s.io/v1", let spec = root["spec"] as? [String: Any]
        else { return status(400, "no kind \"Lease\" in version \"coordination.k8s.io/v1\"", reason: "BadRequest") }
        for name in ["acquireTime", "renewTime"] {
            guard let value = spec[name] else { continue }
            let digits = (value as? String ?? "").map { $0.isNumber ? "0" : $0 }
            guard String(digits) == "0000-00-00T00:00:00.000000Z" else {
                return status(400, "spec.\(name): cannot parse \(value) as a MicroTime", reason: "BadRequest")
            }
        }
        if let holder = spec["holderIdentity"] as? String, holder.isEmpty {
            return status(422, "spec.holderIdentity: must not be empty", reason: "Invalid")
        }
        if let seconds = spec["leaseDurationSeconds"] as? Int, seconds <= 0 {
            return status(422, "spec.leaseDurationSeconds: must be greater than 0", reason: "Invalid")
        }
        if let count = spec["leaseTransitions"] as? Int, count < 0 {
            return status(422, "spec.leaseTransitions: must be greater than or equal to 0", reason: "Invalid")
        }
        return nil
    }

    // MARK: Reviews

    private static func review(_ body: String, _ kind: String, _ group: String) -> [String: Any]? {
        let root = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any]
        guard let root, root["kind"] as? String == kind, root["apiVersion"] as? String == "\(group)/v1" else {
            return nil
        }
        return root["spec"] as? [String: Any]
    }

    private func reviewToken(_ body: String) -> Answered {
        guard let spec = Self.review(body, "TokenReview", "authentication.k8s.io"),
            let token = spec["token"] as? String, !token.isEmpty
        else { return Self.status(400, "no TokenReview with a token", reason: "BadRequest") }
        let status =
            readers[token].map { reader in
                #"{"authenticated":true,"user":{"username":"\#(reader.name)","uid":"uid-\#(reader.name)","#
                    + #""groups":["system:authenticated"],"extra":{"authentication.kubernetes.io/pod-name":["x"]}}}"#
            } ?? #"{"user":{},"error":"[invalid bearer token, Token has been invalidated]"}"#
        let head =
            #"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{"creationTimestamp":null}"#
        return Answered(status: 201, body: head + #","spec":{},"status":\#(status)}"#)
    }

    private func reviewAccess(_ body: String) -> Answered {
        guard let spec = Self.review(body, "SubjectAccessReview", "authorization.k8s.io"),
            let attributes = spec["nonResourceAttributes"] as? [String: String],
            let user = spec["user"] as? String, let groups = spec["groups"] as? [String],
            spec["extra"] is [String: [String]]
        else { return Self.status(422, "no SubjectAccessReview of a path", reason: "Invalid") }
        let reader = readers.values.first { $0.name == user }
        let isAllowed =
            attributes["verb"] == "get" && groups.contains("system:authenticated")
            && reader?.paths.contains(attributes["path"] ?? "") == true
        return Answered(status: 201, body: #"{"kind":"SubjectAccessReview","status":{"allowed":\#(isAllowed)}}"#)
    }

    private static func split(_ path: String) -> (path: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (path, "") }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    static func status(_ code: Int, _ message: String, reason: String = "") -> Answered {
        let message = message.replacing("\"", with: "\\\"")
        let head = #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"\#(message)""#
        return Answered(status: code, body: head + #","reason":"\#(reason)","code":\#(code)}"#)
    }
}
