internal import Bytes
private import Glibc

/// Agrees with other replicas on one leader, by a `Lease` that the leader keeps renewing.
///
/// Clocks need not agree: a lease is over when its record has not changed for as long as it lasts, by this process's own clock.
package final class LeaderElection: Sendable {
    package struct Settings: Sendable {
        package var name: String
        package var namespace: String
        /// Who we are: different for each process.
        package var identity: String
        package var leaseDuration = Duration.seconds(15)
        /// A leader that could not renew for this long is none any more. Must be shorter than `leaseDuration`.
        package var renewDeadline = Duration.seconds(10)
        package var retryPeriod = Duration.seconds(2)
        /// Of one request. Two of them must fit between `renewDeadline` and the end of the lease.
        package var requestTimeout = Duration.milliseconds(2500)

        package init(name: String, namespace: String, identity: String) {
            self.name = name
            self.namespace = namespace
            self.identity = identity
        }

        /// An identity of this process: its host's name and a random part.
        package static func ownIdentity() -> String {
            var name = [CChar](repeating: 0, count: 256)
            gethostname(&name, name.count - 1)
            let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return "\(host)_\(Hex.encode((0..<16).map { _ in UInt8.random(in: .min ... .max) }))"
        }
    }

    package enum Event: Sendable, Equatable {
        case acquired
        /// Another replica took over, or the lease could not be renewed in time.
        case lost
        /// Who leads, when it is somebody else; told once for each.
        case follows(String)
        /// The lease cannot be read or written. Told once, until it can.
        case failing(KubernetesError)
    }

    private struct State {
        var isLeader = false
        /// The record as it was last seen, and when that was for the first time.
        var record: LeaseRecord?
        var seenAt = MonotonicTime(nanoseconds: 0)
        var renewedAt = MonotonicTime(nanoseconds: 0)
        var leaderTold: String?
        var isFailing = false
        /// A turn was broken off: what it wrote may have arrived all the same.
        var isCut = false
        var task: Task<Void, Never>?
    }

    private let settings: Settings
    private let client: KubernetesClient
    private let onEvent: @Sendable (Event) -> Void
    private let state = Lock(State())
    private let collection: String

    /// - Parameters:
    ///   - client: of its own, so that no other requests' pace delays a renewal.
    ///   - onEvent: called on the election's task, one at a time.
    package init(_ settings: Settings, client: KubernetesClient, onEvent: @escaping @Sendable (Event) -> Void) {
        self.settings = settings
        self.client = client
        self.onEvent = onEvent
        collection =
            KubernetesCollection(
                group: "coordination.k8s.io",
                version: "v1",
                namespace: settings.namespace,
                name: "leases"
            ).path
    }

    package var isLeader: Bool { state.withLock { $0.isLeader } }

    /// Stands for election from now on.
    package func start() {
        let task = Task {
            while !Task.isCancelled {
                await turn()
                let pause = settings.retryPeriod * (isLeader ? 1 : Double.random(in: 1...1.2))
                try? await Task.sleep(for: pause)
            }
        }
        state.withLock { $0.task = task }
    }

    /// Ends the candidacy; a leader gives the lease back, so that another can take over at once.
    package func stop() async {
        let task = state.withLock { exchange(&$0.task, with: nil) }
        task?.cancel()
        await task?.value
        let mayHold = state.withLock { state in
            let isLeader = exchange(&state.isLeader, with: false)
            return exchange(&state.isCut, with: false) || isLeader
        }
        guard mayHold else { return }
        do {
            do {
                try await release()
            } catch  where error.code == .conflict {
                // A turn that was broken off may have been written in between.
                try await release()
            }
        } catch {
            // Whoever cannot be told finds out when the lease is over.
        }
    }

    /// Gives the lease back, if it is ours.
    private func release() async throws(KubernetesError) {
        let lease = try await get()
        guard lease.record.holder == settings.identity else { return }
        let time = Self.now()
        let released = LeaseRecord(holder: "", seconds: 1, transitions: lease.record.transitions, acquired: time)
        _ = try await client.call("PUT", path, body: lease.text(with: released, renewed: time), timeout: .seconds(2))
    }

    // MARK: One turn

    private var path: String { "\(collection)/\(Query.escaped(settings.name))" }

    private func turn() async {
        let startedAt = MonotonicTime.now()
        // Whoever was stopped for a while, or had to wait, may have been replaced.
        if startedAt.elapsed(since: state.withLock { $0.renewedAt }) >= settings.renewDeadline { stepDown() }
        do {
            let holder = try await takeOrRenew(startedAt)
            state.withLock { $0.isFailing = false }
            if holder == settings.identity {
                let isNew = state.withLock { state in
                    state.renewedAt = startedAt
                    state.leaderTold = nil
                    return !exchange(&state.isLeader, with: true)
                }
                if isNew { onEvent(.acquired) }
            } else {
                stepDown()
                let isNew = state.withLock { state in exchange(&state.leaderTold, with: holder) != holder }
                if isNew { onEvent(.follows(holder)) }
            }
        } catch {
            if error.code == .cancelled {
                state.withLock { $0.isCut = true }
                return
            }
            // That somebody else was faster is no failure.
            let isNew = error.code != .conflict && state.withLock { state in !exchange(&state.isFailing, with: true) }
            if isNew { onEvent(.failing(error)) }
            let renewedAt = state.withLock { $0.renewedAt }
            if MonotonicTime.now().elapsed(since: renewedAt) >= settings.renewDeadline { stepDown() }
        }
    }

    private func stepDown() {
        if state.withLock({ exchange(&$0.isLeader, with: false) }) { onEvent(.lost) }
    }

    /// Who holds the lease now.
    private func takeOrRenew(_ now: MonotonicTime) async throws(KubernetesError) -> String {
        let time = Self.now()
        let lease: Lease
        do {
            lease = try await get()
        } catch {
            guard error.code == .notFound else { throw error }
            let record = LeaseRecord(holder: settings.identity, seconds: seconds, transitions: 0, acquired: time)
            let new = Lease(name: settings.name, namespace: settings.namespace)
            _ = try await call("POST", collection, new.text(with: record, renewed: time))
            return settings.identity
        }
        let seenAt = state.withLock { state in
            if state.record != lease.record {
                state.record = lease.record
                state.seenAt = now
            }
            return state.seenAt
        }
        var record = lease.record
        if record.holder != settings.identity {
            // How long it lasts is its holder's to say.
            let duration = record.seconds > 0 ? Duration.seconds(record.seconds) : settings.leaseDuration
            let isOver = record.holder.isEmpty || now.elapsed(since: seenAt) >= duration
            guard isOver else { return record.holder }
            record.transitions += 1
            record.acquired = time
        }
        record.holder = settings.identity
        record.seconds = seconds
        _ = try await call("PUT", path, lease.text(with: record, renewed: time))
        return settings.identity
    }

    private var seconds: Int { max(1, Int(settings.leaseDuration.seconds)) }

    private func get() async throws(KubernetesError) -> Lease {
        try Lease(try await call("GET", path, nil))
    }

    private func call(_ method: String, _ path: String, _ body: [UInt8]?) async throws(KubernetesError) -> [UInt8] {
        try await client.call(method, path, body: body, timeout: settings.requestTimeout)
    }

    /// The time of day as a `MicroTime`.
    private static func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var parts = tm()
        gmtime_r(&time.tv_sec, &parts)
        func padded(_ number: some BinaryInteger, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = "\(padded(parts.tm_year + 1900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))"
        let clock = "\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2)):\(padded(parts.tm_sec, 2))"
        return "\(date)T\(clock).\(padded(time.tv_nsec / 1000, 6))Z"
    }
}
