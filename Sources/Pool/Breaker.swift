package import Bytes

/// Keeps requests from an endpoint that cannot be reached: after some failures in a row it opens, and nothing goes there; when it has been open
/// for long enough one request may try, and what becomes of that one decides.
package final class Breaker: Sendable {
    package struct Policy: Sendable, Equatable {
        /// Failures in a row that open it, at least 1.
        package var failures: Int
        package var openFor: Duration

        package init(failures: Int, openFor: Duration) {
            self.failures = max(1, failures)
            self.openFor = openFor
        }
    }

    package enum State: String, Sendable {
        case closed, open
        /// One request may try, or is trying.
        case halfOpen = "half-open"
    }

    private struct Record {
        var failures = 0
        /// Counted while it is closed.
        var successes: UInt64 = 0
        /// Nil while it is closed.
        var openUntil: MonotonicTime?
        var probe: UInt64 = 0
        var isProbing = false
    }

    private let record = Lock(Record())

    package init() {}

    package func state(at now: MonotonicTime) -> State {
        record.withLock { record in
            guard let until = record.openUntil else { return .closed }
            return record.isProbing || now >= until ? .halfOpen : .open
        }
    }

    /// Whether a request may go now. Changes nothing, so several may be told so; `enter` decides.
    package func allows(at now: MonotonicTime) -> Bool {
        record.withLock { record in
            guard let until = record.openUntil else { return true }
            return !record.isProbing && now >= until
        }
    }

    /// Lets a request go, or not: nil. Say what became of it; a pass that is dropped without a word says nothing of the endpoint.
    package func enter(at now: MonotonicTime) -> BreakerPass? {
        let entered: (probe: UInt64, successes: UInt64)? = record.withLock { record in
            guard let until = record.openUntil else { return (0, record.successes) }
            guard !record.isProbing, now >= until else { return nil }
            record.isProbing = true
            record.probe += 1
            return (record.probe, record.successes)
        }
        return entered.map { BreakerPass(breaker: self, probe: $0.probe, successes: $0.successes) }
    }

    /// - Parameter probe: the number of the try, 0 for a request that went while the breaker was closed.
    fileprivate func succeeded(probe: UInt64) {
        record.withLock { record in
            // A success from before it opened is old news.
            guard record.openUntil == nil || (probe != 0 && probe == record.probe) else { return }
            record.failures = 0
            record.successes += 1
            record.openUntil = nil
            record.isProbing = false
        }
    }

    /// - Parameter successes: how many there were when the request went.
    fileprivate func failed(probe: UInt64, successes: UInt64, at now: MonotonicTime, _ policy: Policy) {
        record.withLock { record in
            // The endpoint has answered others since that request went: of several that time out late, together, none tells of it.
            guard record.openUntil != nil || record.successes == successes else { return }
            record.failures += 1
            if record.isProbing, probe == record.probe {
                record.isProbing = false
                record.openUntil = now + policy.openFor
            } else if record.openUntil == nil, record.failures >= policy.failures {
                record.openUntil = now + policy.openFor
            }
        }
    }

    fileprivate func abandoned(probe: UInt64) {
        guard probe != 0 else { return }
        record.withLock { record in
            if record.probe == probe { record.isProbing = false }
        }
    }
}

/// One request that a breaker let go.
package struct BreakerPass: ~Copyable, Sendable {
    private let breaker: Breaker
    private let probe: UInt64
    private let successes: UInt64

    fileprivate init(breaker: Breaker, probe: UInt64, successes: UInt64) {
        self.breaker = breaker
        self.probe = probe
        self.successes = successes
    }

    /// The endpoint was reached, whatever it answered.
    package consuming func succeeded() {
        breaker.succeeded(probe: probe)
    }

    /// The endpoint could not be reached. Does not count when others have reached it since this request went.
    package consuming func failed(at now: MonotonicTime, _ policy: Breaker.Policy) {
        breaker.failed(probe: probe, successes: successes, at: now, policy)
    }

    deinit {
        breaker.abandoned(probe: probe)
    }
}
