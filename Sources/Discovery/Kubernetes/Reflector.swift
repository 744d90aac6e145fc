package import Bytes
private import Synchronization

/// What a `Reflector` has seen and done.
package struct ReflectorCounts: Sendable, Equatable {
    package var lists = 0
    package var watches = 0
    package var events = 0
    /// Times that the server had forgotten where we were.
    package var expirations = 0
    /// Events that were known already, or came after newer ones.
    package var stale = 0
    /// Objects and events that could not be read.
    package var malformed = 0
    package var failures = 0

    package init() {}
}

/// What happens to a `Reflector`; told on its task.
package enum ReflectorEvent: Sendable {
    /// Its objects have changed, or are known for the first time.
    case changed
    /// It does not get through. Told once, until it does again.
    case failing(KubernetesError)
    case recovered
    /// Something was left out. Told for the first one only.
    case malformed(String)
}

/// What has happened to a `Reflector`'s objects.
package enum ReflectorChanges<Object: KubernetesObject>: Sendable {
    /// Anything: these are all objects now.
    case all([ObjectKey: Object])
    /// These are different, or gone: nil.
    case some([(key: ObjectKey, object: Object?)])
}

/// The time that a `Reflector` lives in.
package struct ReflectorClock: Sendable {
    package var now: @Sendable () -> MonotonicTime = { .now() }
    /// Returns early when the task is cancelled.
    package var sleep: @Sendable (Duration) async -> Void = { try? await Task.sleep(for: $0) }

    package init() {}
}

/// How patient a `Reflector` is.
package struct ReflectorSettings: Sendable {
    package var pageSize = 500
    package var maxObjectBytes = 8 << 20
    /// After a failure; doubled with each one that follows.
    package var firstDelay = Duration.milliseconds(200)
    package var longestDelay = Duration.seconds(30)
    /// How often a kind of objects is looked for that the server does not know, and for how long it must not know it before objects that were
    /// there are given up.
    package var absenceDelay = Duration.seconds(30)
    /// How long the server keeps a watch open, at least; at most twice as long.
    package var watchDuration = Duration.seconds(300)
    /// A watch without a byte, not even a bookmark, is taken for dead after this.
    package var silence = Duration.seconds(180)
    /// Whether a kind that the server does not know counts as one without objects.
    package var mayBeAbsent = false
    package var clock = ReflectorClock()

    package init() {}
}

/// A copy of all objects of one kind that follows the server: a list, and then a watch from the list's version on.
///
/// While the server cannot be reached the copy stays as it was. What the server tells of an object that is already known in that version or
/// a newer one changes nothing.
package final class Reflector<Object: KubernetesObject>: Sendable {
    struct State {
        var objects: [ObjectKey: Object] = [:]
        /// Whether the objects have been listed, or are known to be none.
        var isSynced = false
        /// The objects that events have changed since `takeChanges` was last called; nil when others may have, too.
        var changed: Set<ObjectKey>?
        var counts = ReflectorCounts()
        var task: Task<Void, Never>?
    }

    let client: KubernetesClient
    let collection: KubernetesCollection
    let settings: ReflectorSettings
    let state = Lock(State())
    private let onEvent: @Sendable (ReflectorEvent) -> Void

    /// - Parameter onEvent: must not block.
    package init(
        _ collection: KubernetesCollection,
        client: KubernetesClient,
        settings: ReflectorSettings = ReflectorSettings(),
        onEvent: @escaping @Sendable (ReflectorEvent) -> Void
    ) {
        self.client = client
        self.collection = collection
        self.settings = settings
        self.onEvent = onEvent
    }

    deinit { stop() }

    /// Follows the server until `stop()`.
    package func start() {
        // The loop holds the reflector only while it works, so that letting go of it ends the loop.
        let task = Task { [weak self, clock = settings.clock] in
            var loop = ReflectorLoop()
            while !Task.isCancelled {
                guard let delay = await self?.step(&loop) else { return }
                if delay > .zero { await clock.sleep(delay) }
            }
        }
        state.withLock { $0.task = task }
    }

    /// Ends the requests under way. The objects stay.
    package func stop() {
        state.withLock { $0.task }?.cancel()
    }

    /// The objects, or nil before they have been listed.
    package var objects: [ObjectKey: Object]? {
        state.withLock { $0.isSynced ? $0.objects : nil }
    }

    /// What has changed since the last call, or nil before the objects have been listed. For one caller.
    ///
    /// - Parameter needsAll: whether the caller cannot go on from what it was told before.
    package func takeChanges(needsAll: Bool) -> ReflectorChanges<Object>? {
        state.withLock { state in
            guard state.isSynced else { return nil }
            defer { state.changed = [] }
            guard let changed = state.changed, !needsAll else { return .all(state.objects) }
            return .some(changed.map { ($0, state.objects[$0]) })
        }
    }

    package var counts: ReflectorCounts { state.withLock { $0.counts } }

    // MARK: The loop

    /// One list, or one watch to its end. Returns how long to wait before the next.
    private func step(_ loop: inout ReflectorLoop) async -> Duration {
        guard let version = loop.version else {
            do {
                loop.version = try await list(&loop)
                loop.absentSince = nil
                loop.refusals = 0
                noteSuccess(.list, &loop)
                return .zero
            } catch {
                return failed(error, in: .list, &loop)
            }
        }
        let startedAt = settings.clock.now()
        state.withLock { $0.counts.watches += 1 }
        do {
            loop.version = try await watch(from: version, &loop)
            // A server that ends each watch at once is asked less and less often.
            guard settings.clock.now().elapsed(since: startedAt) >= .seconds(1) || loop.version != version else {
                return loop.nextDelay(settings)
            }
            loop.reset()
            noteSuccess(.watch, &loop)
            return .zero
        } catch {
            if settings.clock.now().elapsed(since: startedAt) >= .seconds(10) { loop.reset() }
            return failed(error, in: .watch, &loop)
        }
    }

    /// The server has answered as it should. A list does not show that its watches are of any use again.
    func noteSuccess(_ step: ReflectorLoop.Step, _ loop: inout ReflectorLoop) {
        guard let failing = loop.failing, failing == .list || step == .watch else { return }
        loop.failing = nil
        onEvent(.recovered)
    }

    private func failed(
        _ error: KubernetesError,
        in step: ReflectorLoop.Step,
        _ loop: inout ReflectorLoop
    ) -> Duration {
        // Unless it is we who end, it is the client that has.
        if error.code == .cancelled { return Task.isCancelled ? .zero : settings.longestDelay }
        if loop.mustList { loop.version = nil }
        loop.mustList = false
        if error.code != .notFound { loop.absentSince = nil }
        if error.code == .gone {
            state.withLock { $0.counts.expirations += 1 }
            loop.version = nil
            // The first time that is no failure: the list that follows mends it.
            loop.expirations += 1
            return loop.expirations == 1 ? .zero : loop.nextDelay(settings)
        }
        if error.code == .notFound {
            // A kind that is gone has no versions to go on from.
            loop.version = nil
            let now = settings.clock.now()
            let since = loop.absentSince ?? now
            loop.absentSince = since
            // A server that has just started may not know all its kinds yet, so objects that were there are not given up at once: before a kind
            // goes for good, each of its objects is told to be gone.
            let isLong = now.elapsed(since: since) >= settings.absenceDelay
            if settings.mayBeAbsent, isLong || objects?.isEmpty ?? true {
                replace([:])
                // There is nothing to watch.
                noteSuccess(.watch, &loop)
                return settings.absenceDelay * Double.random(in: 0.8...1.2)
            }
        }
        state.withLock { $0.counts.failures += 1 }
        if loop.failing == nil { onEvent(.failing(error)) }
        if loop.failing != .watch { loop.failing = step }
        let isRefused = error.code == .forbidden && settings.mayBeAbsent
        return max(loop.nextDelay(settings), error.retryAfter ?? .zero, isRefused ? settings.absenceDelay : .zero)
    }

    // MARK: Objects

    /// Makes these all objects.
    func replace(_ objects: [ObjectKey: Object]) {
        let isNews = state.withLock { state in
            let isNews = !state.isSynced || !objects.isEmpty || !state.objects.isEmpty
            state.objects = objects
            state.changed = nil
            state.isSynced = true
            return isNews
        }
        if isNews { onEvent(.changed) }
    }

    func changed() {
        onEvent(.changed)
    }

    func malformed(_ what: String) {
        let isFirst = state.withLock { state in
            state.counts.malformed += 1
            return state.counts.malformed == 1
        }
        if isFirst { onEvent(.malformed(what)) }
    }
}

/// What the loop of a `Reflector` remembers from one step to the next.
struct ReflectorLoop {
    enum Step { case list, watch }

    /// Where to go on watching; nil: list first.
    var version: String?
    /// An event has shown that the copy may be wrong.
    var mustList = false
    /// What has failed since it last went well; a watch, if both have.
    var failing: Step?
    /// How often in a row a watch from `version` was not even begun, by a server that answers.
    var refusals = 0
    /// Expired versions since the last watch that went well.
    var expirations = 0
    /// Since when every answer has been that the kind is not known.
    var absentSince: MonotonicTime?
    /// A list's page was forgotten by the server: the next is asked for in one piece.
    var listsWhole = false
    private var wait: Backoff?

    mutating func reset() {
        wait = nil
        expirations = 0
    }

    /// After one more failure.
    mutating func nextDelay(_ settings: ReflectorSettings) -> Duration {
        var backoff = wait ?? Backoff(first: settings.firstDelay, longest: settings.longestDelay)
        defer { wait = backoff }
        return backoff.delay()
    }
}
