internal import Bytes
internal import SubRequests

extension Reflector {
    // MARK: List

    /// Lists all objects, page by page, and returns the list's version.
    func list(_ loop: inout ReflectorLoop) async throws(KubernetesError) -> String {
        state.withLock { $0.counts.lists += 1 }
        var objects: [ObjectKey: Object] = [:]
        var next: String?
        var version = ""
        var pages = 0
        repeat {
            let page: Page
            do {
                page = try await self.page(next, isWhole: loop.listsWhole, &objects)
            } catch {
                // Its pages are of one moment, which the server has forgotten: from the beginning, and in one piece.
                if error.code == .gone, next != nil { loop.listsWhole = true }
                throw error
            }
            pages += 1
            guard pages < Self.maxPages, page.next == nil || page.next != next else {
                throw KubernetesError(.malformed, "a list of \(collection.path) does not end")
            }
            version = page.version
            next = page.next
        } while next != nil
        loop.listsWhole = false
        guard !version.isEmpty else {
            throw KubernetesError(.malformed, "a list of \(collection.path) without a version")
        }
        replace(objects)
        return version
    }

    /// A million objects, at 500 a page.
    private static var maxPages: Int { 2000 }

    private struct Page {
        let version: String
        /// What asks for the page after it.
        let next: String?
    }

    private func page(
        _ token: String?,
        isWhole: Bool,
        _ objects: inout [ObjectKey: Object]
    ) async throws(KubernetesError) -> Page {
        var query = collection.query()
        if !isWhole { query.add("limit", "\(settings.pageSize)") }
        query.add("continue", token)
        let limits = HTTPStreamLimits(
            headTimeout: .seconds(60),
            idleTimeout: .seconds(30),
            timeout: .seconds(300),
            maxResponseBytes: nil,
            window: 512 << 10
        )
        let stream = try await client.open(collection.path + query.text, limits: limits)
        var splitter = JSONSplitter(.list, maxObjectBytes: settings.maxObjectBytes)
        while let piece = try await next(of: stream) {
            do {
                try splitter.feed(piece) { bytes in
                    guard let tree = try? JSONTree(bytes), let object = Object(tree.root) else {
                        return malformed("an item of \(collection.path) is no object of its kind")
                    }
                    objects[object.metadata.key] = object
                }
            } catch {
                stream.cancel()
                throw KubernetesError(.malformed, "\(collection.path) is no list: \(error)")
            }
        }
        if splitter.droppedCount > 0 {
            malformed("an item of \(collection.path) exceeds \(settings.maxObjectBytes) bytes")
        }
        guard splitter.isComplete, let envelope = try? JSONTree(splitter.envelope).root else {
            throw KubernetesError(.malformed, "\(collection.path) is no list")
        }
        guard Self.isList(envelope) else {
            throw KubernetesError(.malformed, "\(collection.path) answers with something that is no list")
        }
        let metadata = envelope["metadata"]?.members("resourceVersion", "continue") ?? [nil, nil]
        let rest = metadata[1]?.string ?? ""
        return Page(version: metadata[0]?.string ?? "", next: rest.isEmpty ? nil : rest)
    }

    /// Whether what is around the items is a list's. To take anything else for one without items would cost every object.
    private static func isList(_ envelope: JSONNode) -> Bool {
        guard let items = envelope.members.last(where: { $0.name == "items" })?.value else {
            return envelope["kind"]?.string?.hasSuffix("List") ?? false
        }
        return items.isArray || items.isNull
    }

    private func next(of stream: HTTPStream) async throws(KubernetesError) -> [UInt8]? {
        do {
            return try await stream.next()
        } catch {
            throw KubernetesError(error)
        }
    }

    // MARK: Watch

    /// Follows the changes after `version` until the server ends the watch; returns the version of the last.
    ///
    /// An event that shows the copy to be wrong, or cannot be read, ends the watch with an error; whether a list must follow is in `loop`.
    func watch(from version: String, _ loop: inout ReflectorLoop) async throws(KubernetesError) -> String {
        var query = collection.query()
        query.add("watch", "true")
        query.add("allowWatchBookmarks", "true")
        query.add("resourceVersion", version)
        let duration = settings.watchDuration * Double.random(in: 1...2)
        query.add("timeoutSeconds", "\(max(1, Int(duration.seconds)))")
        let limits = HTTPStreamLimits(
            headTimeout: .seconds(30),
            idleTimeout: settings.silence,
            timeout: duration + .seconds(30),
            maxResponseBytes: nil,
            window: 512 << 10
        )
        let stream = try await openWatch(query, limits, &loop)
        var position = WatchPosition(version: version)
        // What has been seen need not be sent again.
        defer { loop.version = position.version }
        var splitter = JSONSplitter(.sequence, maxObjectBytes: settings.maxObjectBytes)
        while let piece = try await piece(of: stream) {
            var failure: KubernetesError?
            var isChanged = false
            do {
                try splitter.feed(piece) { bytes in
                    guard failure == nil else { return }
                    do throws(KubernetesError) {
                        isChanged = try apply(bytes, &position, &loop) || isChanged
                    } catch {
                        failure = error
                    }
                }
            } catch {
                loop.mustList = true
                failure = KubernetesError(.malformed, "a watch of \(collection.path) is no JSON: \(error)")
            }
            if splitter.droppedCount > 0 {
                loop.mustList = true
                failure = KubernetesError(.malformed, "an event exceeds \(settings.maxObjectBytes) bytes")
            }
            if isChanged { changed() }
            if let failure {
                stream.cancel()
                throw failure
            }
        }
        return position.version
    }

    private func openWatch(
        _ query: Query,
        _ limits: HTTPStreamLimits,
        _ loop: inout ReflectorLoop
    ) async throws(KubernetesError) -> HTTPStream {
        do {
            let stream = try await client.open(collection.path + query.text, limits: limits)
            loop.refusals = 0
            return stream
        } catch {
            // Whoever says when to come back is busy, and has nothing against the place that we ask for.
            if [.refused, .server, .malformed].contains(error.code), error.retryAfter == nil { loop.refusals += 1 }
            if loop.refusals >= Self.maxRefusals {
                loop.refusals = 0
                loop.mustList = true
            }
            throw error
        }
    }

    /// A server that takes no watch from one version may never again: its store may be an older one, restored.
    private static var maxRefusals: Int { 3 }

    /// The next piece of a watch. However its connection ends, that belongs to a watch's life; what matters is whether another one begins.
    private func piece(of stream: HTTPStream) async throws(KubernetesError) -> [UInt8]? {
        do {
            return try await stream.next()
        } catch {
            let error = KubernetesError(error)
            if error.code == .unreachable { return nil }
            throw error
        }
    }

    /// Takes one event; true when it changed the objects.
    private func apply(
        _ bytes: [UInt8],
        _ position: inout WatchPosition,
        _ loop: inout ReflectorLoop
    ) throws(KubernetesError) -> Bool {
        guard let event = try? JSONTree(bytes).root.members("type", "object"), let type = event[0]?.string else {
            loop.mustList = true
            throw KubernetesError(.malformed, "an event of \(collection.path) is no JSON object with a type")
        }
        if type == "ERROR" {
            let error = KubernetesError(status: event[1])
            // What went wrong is unknown, so what was missed is, too; only a server that is busy says nothing of that kind.
            loop.mustList = error.code != .throttled
            throw error
        }
        if type == "BOOKMARK" {
            let version = event[1]?["metadata"]?["resourceVersion"]?.string ?? ""
            guard !version.isEmpty else { return false }
            if let now = UInt64(version), let known = position.number, now < known {
                // Nothing that comes now would look new: the server's store may be an older one, restored.
                loop.mustList = true
                throw KubernetesError(.malformed, "a watch of \(collection.path) has gone back from \(known) to \(now)")
            }
            position.version = version
            noteSuccess(.watch, &loop)
            return false
        }
        guard ["ADDED", "MODIFIED", "DELETED"].contains(type) else { return false }
        guard let node = event[1], let object = Object(node) else {
            return try readUnusable(event[1], type, &position)
        }
        let outcome = state.withLock { state in
            state.counts.events += 1
            let outcome = Self.take(object, isDeleted: type == "DELETED", &state.objects, position)
            if outcome == .changed {
                state.changed?.insert(object.metadata.key)
            } else {
                state.counts.stale += 1
            }
            return outcome
        }
        if outcome == .doubtful {
            loop.mustList = true
            throw KubernetesError(.malformed, "events of \(collection.path) out of order: listing anew")
        }
        position.advance(to: object.metadata)
        noteSuccess(.watch, &loop)
        return outcome == .changed
    }

    /// An object that is none of its kind any more is as good as gone; one without a name cannot even be told from others.
    private func readUnusable(
        _ node: JSONNode?,
        _ type: String,
        _ position: inout WatchPosition
    ) throws(KubernetesError) -> Bool {
        malformed("an event of \(collection.path) holds no object of its kind")
        guard let metadata = ObjectMetadata(node?["metadata"], annotations: []) else { return false }
        position.advance(to: metadata)
        return state.withLock { state in
            guard let known = state.objects[metadata.key]?.metadata else { return false }
            guard !Self.isLate(metadata, isDeleted: type == "DELETED", known) else {
                state.counts.stale += 1
                return false
            }
            state.objects[metadata.key] = nil
            state.changed?.insert(metadata.key)
            return true
        }
    }

    private enum Outcome { case changed, known, doubtful }

    private static func take(
        _ object: Object,
        isDeleted: Bool,
        _ objects: inout [ObjectKey: Object],
        _ position: WatchPosition
    ) -> Outcome {
        let metadata = object.metadata
        if let known = objects[metadata.key]?.metadata {
            guard !isLate(metadata, isDeleted: isDeleted, known) else { return .known }
            objects[metadata.key] = isDeleted ? nil : object
            return .changed
        }
        if isDeleted { return .known }
        // An object that is not there, in a version from before: it has come late, and may be gone by now.
        if let new = metadata.version, let last = position.number, new < last { return .doubtful }
        objects[metadata.key] = object
        return .changed
    }

    /// Whether what an event says of an object is no newer than what is known of it.
    private static func isLate(_ metadata: ObjectMetadata, isDeleted: Bool, _ known: ObjectMetadata) -> Bool {
        guard let old = known.version, let new = metadata.version, new <= old else { return false }
        // The end of an object is final, whatever its event's version; that of its namesake before is not its own.
        return !isDeleted || known.uid != metadata.uid
    }
}

/// How far a watch has come.
private struct WatchPosition {
    var version: String

    var number: UInt64? { UInt64(version) }

    /// Goes on to an event's object, unless that has come late.
    mutating func advance(to metadata: ObjectMetadata) {
        guard !metadata.resourceVersion.isEmpty, (metadata.version ?? .max) >= (number ?? 0) else { return }
        version = metadata.resourceVersion
    }
}
