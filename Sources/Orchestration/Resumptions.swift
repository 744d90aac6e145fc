package import Bytes
internal import Pool

/// What prefills left for decodes that have not begun: a request that comes again with the same id and the same body goes on from there.
///
/// An entry is taken once. It is kept no longer than engines surely keep the cache, and only so many are.
package final class Resumptions: Sendable {
    /// The same request: its id, and a hash of all that the prefill depended on.
    package struct Key: Hashable, Sendable {
        package let requestID: String
        package let fingerprint: UInt64

        package init(requestID: String, fingerprint: UInt64) {
            self.requestID = requestID
            self.fingerprint = fingerprint
        }
    }

    /// What `take` found.
    package struct Taken {
        package let finished: FinishedPrefill?
        /// How many entries ran out since somebody last looked.
        package let expired: Int
    }

    /// Two thirds of the lease that vLLM gives a finished prefill: the decode has to begin within the rest.
    package static let validity = Duration.seconds(20)
    package static let limit = 4096

    private struct Entries {
        var all: [Key: FinishedPrefill] = [:]
        /// Before this none of them runs out.
        var nextExpiry: MonotonicTime?
        /// Whether somebody waits for that.
        var isTimed = false

        /// Drops what ran out, and says how much that was.
        mutating func expire(at now: MonotonicTime) -> Int {
            guard let next = nextExpiry, next <= now else { return 0 }
            let before = all.count
            all = all.filter { $0.value.expiresAt > now }
            nextExpiry = all.values.map(\.expiresAt).min()
            return before - all.count
        }
    }

    private let entries = Lock(Entries())
    private let now: @Sendable () -> MonotonicTime
    private let sleep: @Sendable (Duration) async throws -> Void
    private let expired: (@Sendable (Int) -> Void)?

    /// - Parameters:
    ///   - sleep: returns after that time of `now`.
    ///   - expired: told, soon after, how many entries ran out, without those that `keep` and `take` tell of. Nil: only those tell.
    package init(
        now: @escaping @Sendable () -> MonotonicTime = { .now() },
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        expired: (@Sendable (Int) -> Void)? = nil
    ) {
        self.now = now
        self.sleep = sleep
        self.expired = expired
    }

    /// Keeps what no decode has seen.
    ///
    /// - Returns: how many are lost: those that ran out meanwhile, one with the same key, and this one when it is too old or there is no room.
    package func keep(_ finished: FinishedPrefill, for key: Key, at now: MonotonicTime) -> Int {
        let (lost, begins) = entries.withLock { entries in
            let expired = entries.expire(at: now)
            let expiry = finished.expiresAt
            guard expiry > now, entries.all.count < Self.limit else { return (expired + 1, false) }
            entries.nextExpiry = min(expiry, entries.nextExpiry ?? expiry)
            let lost = expired + (entries.all.updateValue(finished, forKey: key) == nil ? 0 : 1)
            let begins = self.expired != nil && !entries.isTimed
            if begins { entries.isTimed = true }
            return (lost, begins)
        }
        if begins { waitForExpiry() }
        return lost
    }

    /// Drops entries when they run out, until there are none.
    private func waitForExpiry() {
        Task { [weak self, now, sleep] in
            while let next = self?.nextExpiry() {
                // A sleep that fails is none of ours: nobody cancels this.
                try? await sleep(max(.milliseconds(1), next.elapsed(since: now())))
                self?.expireNow()
            }
        }
    }

    private func nextExpiry() -> MonotonicTime? {
        entries.withLock { entries in
            if entries.nextExpiry == nil { entries.isTimed = false }
            return entries.nextExpiry
        }
    }

    private func expireNow() {
        let count = entries.withLock { $0.expire(at: now()) }
        if count > 0 { expired?(count) }
    }

    /// Takes what was kept for the request, if it is still good.
    package func take(_ key: Key, at now: MonotonicTime) -> Taken {
        entries.withLock { entries in
            let expired = entries.expire(at: now)
            return Taken(finished: entries.all.removeValue(forKey: key), expired: expired)
        }
    }

    package var count: Int { entries.withLock { $0.all.count } }
}

extension FinishedPrefill {
    fileprivate var expiresAt: MonotonicTime { finishedAt + Resumptions.validity }
}
