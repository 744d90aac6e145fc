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

    package init() {}

    /// Keeps what no decode has seen.
    ///
    /// - Returns: how many are lost: those that ran out meanwhile, one with the same key, and this one when it is too old or there is no room.
    package func keep(_ finished: FinishedPrefill, for key: Key, at now: MonotonicTime) -> Int {
        entries.withLock { entries in
            let expired = entries.expire(at: now)
            let expiry = finished.expiresAt
            guard expiry > now, entries.all.count < Self.limit else { return expired + 1 }
            entries.nextExpiry = min(expiry, entries.nextExpiry ?? expiry)
            return expired + (entries.all.updateValue(finished, forKey: key) == nil ? 0 : 1)
        }
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
