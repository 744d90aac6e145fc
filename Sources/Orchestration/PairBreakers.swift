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
        breaker(Pair(prefill: prefill.number, decode: decode.number))?.allows(at: now) ?? true
    }

    /// Lets a decode go to the pair, or not: nil. Where the pair has failed before, one may try at a time.
    package func enter(_ prefill: Endpoint, _ decode: Endpoint, at now: MonotonicTime) -> PairPass? {
        guard let breaker = breaker(Pair(prefill: prefill.number, decode: decode.number)) else {
            return PairPass(breaker: nil, pass: nil)
        }
        guard let pass = breaker.enter(at: now) else { return nil }
        return PairPass(breaker: breaker, pass: pass)
    }

    /// What the two came to together.
    ///
    /// - Parameter pass: nil for a decode that went there since there was nobody else.
    package func ended(
        _ prefill: Endpoint,
        _ decode: Endpoint,
        _ pass: consuming PairPass?,
        failed: Bool,
        at now: MonotonicTime,
        _ policy: Breaker.Policy
    ) {
        let pair = Pair(prefill: prefill.number, decode: decode.number)
        guard let known = failed ? known(pair, at: now) : breaker(pair) else { return }
        let own = pass?.take(of: known)
        if failed {
            let entered = own ?? known.enter(at: now)
            entered?.failed(at: now, policy)
        } else {
            own?.succeeded()
            forget(pair, known, at: now)
        }
    }

    /// Nothing is held against a pair that is well.
    private func forget(_ pair: Pair, _ breaker: Breaker, at now: MonotonicTime) {
        guard breaker.state(at: now) == .closed else { return }
        breakers.withLock { if $0[pair] === breaker { $0[pair] = nil } }
    }

    /// The pair's breaker, from now on if it had none; nil when there is no room.
    private func known(_ pair: Pair, at now: MonotonicTime) -> Breaker? {
        breakers.withLock { breakers in
            if let known = breakers[pair] { return known }
            if breakers.count >= Self.limit { breakers = breakers.filter { $0.value.state(at: now) == .open } }
            guard breakers.count < Self.limit else { return nil }
            let new = Breaker()
            breakers[pair] = new
            return new
        }
    }

    private func breaker(_ pair: Pair) -> Breaker? {
        breakers.withLock { $0[pair] }
    }
}

/// One decode that was let go to a pair. Dropped without a word it says nothing of the two.
package struct PairPass: ~Copyable, Sendable {
    fileprivate let breaker: Breaker?
    fileprivate var pass: BreakerPass?

    /// The pass, if it is one of this breaker.
    fileprivate consuming func take(of breaker: Breaker) -> BreakerPass? {
        self.breaker === breaker ? pass.take() : nil
    }
}
