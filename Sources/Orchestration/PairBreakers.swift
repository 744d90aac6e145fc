package import Bytes
package import Pool

/// One breaker for each pair of a prefill and a decode endpoint: two that are well on their own may fail together (a stale connection between
/// them, versions that do not match).
package final class PairBreakers: Sendable {
    private struct Pair: Hashable {
        let prefill: Int
        let decode: Int
    }

    /// Pairs that have failed. Of more than this those that nothing is held against now are forgotten.
    package static let limit = 4096

    private let breakers = Lock<[Pair: Breaker]>([:])

    package init() {}

    /// No pair has failed lately.
    var isEmpty: Bool { breakers.withLock { $0.isEmpty } }

    package func allows(_ prefill: Endpoint, _ decode: Endpoint, at now: MonotonicTime) -> Bool {
        breaker(prefill, decode)?.allows(at: now) ?? true
    }

    /// What the two came to together.
    package func ended(
        _ prefill: Endpoint,
        _ decode: Endpoint,
        failed: Bool,
        at now: MonotonicTime,
        _ policy: Breaker.Policy
    ) {
        let pair = Pair(prefill: prefill.number, decode: decode.number)
        let breaker: Breaker? = breakers.withLock { breakers in
            if let known = breakers[pair] {
                if !failed { breakers[pair] = nil }
                return known
            }
            guard failed else { return nil }
            if breakers.count >= Self.limit { breakers = breakers.filter { $0.value.state(at: now) == .open } }
            guard breakers.count < Self.limit else { return nil }
            let new = Breaker()
            breakers[pair] = new
            return new
        }
        if failed { breaker?.enter(at: now)?.failed(at: now, policy) }
    }

    private func breaker(_ prefill: Endpoint, _ decode: Endpoint) -> Breaker? {
        breakers.withLock { $0[Pair(prefill: prefill.number, decode: decode.number)] }
    }
}
