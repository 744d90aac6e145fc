package import Bytes
package import Pool

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

    package struct Entry: Sendable {
        package let handover: Handover
        package let prefill: Endpoint
        let expiresAt: MonotonicTime
    }

    /// Two thirds of the lease that vLLM gives a finished prefill: the decode has to begin within the rest.
    package static let validity = Duration.seconds(20)
    private static let limit = 4096

    private let entries = Lock<[Key: Entry]>([:])

    package init() {}

    /// Keeps a handover that no decode has seen.
    ///
    /// - Returns: how many entries ran out meanwhile, this one included when there is no room.
    package func keep(_ handover: Handover, from prefill: Endpoint, for key: Key, at now: MonotonicTime) -> Int {
        entries.withLock { entries in
            let before = entries.count
            entries = entries.filter { $0.value.expiresAt > now }
            let expired = before - entries.count
            guard entries.count < Self.limit else { return expired + 1 }
            let entry = Entry(handover: handover, prefill: prefill, expiresAt: now + Self.validity)
            return expired + (entries.updateValue(entry, forKey: key) == nil ? 0 : 1)
        }
    }

    /// Takes what was kept for the request, if it is still good.
    package func take(_ key: Key, at now: MonotonicTime) -> Entry? {
        entries.withLock { entries in
            guard !entries.isEmpty, let entry = entries.removeValue(forKey: key), entry.expiresAt > now else {
                return nil
            }
            return entry
        }
    }

    package var count: Int { entries.withLock { $0.count } }
}
