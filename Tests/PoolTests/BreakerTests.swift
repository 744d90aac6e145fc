import Bytes
import Pool
import Testing

@Suite("Breakers")
struct BreakerTests {
    private let policy = Breaker.Policy(failures: 3, openFor: .seconds(5))

    private func time(_ seconds: Int) -> MonotonicTime {
        MonotonicTime(nanoseconds: UInt64(seconds) * 1_000_000_000)
    }

    private func fail(_ breaker: Breaker, at now: MonotonicTime) {
        breaker.enter(at: now)?.failed(at: now, policy)
    }

    /// Whether a request is let go; it then says nothing of the endpoint.
    private func enters(_ breaker: Breaker, at now: MonotonicTime) -> Bool {
        guard let pass = breaker.enter(at: now) else { return false }
        _ = consume pass
        return true
    }

    @Test("Failures in a row open it, and fewer do not")
    func opens() {
        let breaker = Breaker()
        fail(breaker, at: time(1))
        fail(breaker, at: time(1))
        #expect(breaker.state(at: time(1)) == .closed)
        fail(breaker, at: time(1))
        #expect(breaker.state(at: time(1)) == .open)
        #expect(!breaker.allows(at: time(5)))
        #expect(!enters(breaker, at: time(5)))
    }

    @Test("A success between failures begins the count anew")
    func resets() {
        let breaker = Breaker()
        fail(breaker, at: time(1))
        fail(breaker, at: time(1))
        breaker.enter(at: time(1))?.succeeded()
        fail(breaker, at: time(1))
        fail(breaker, at: time(1))
        #expect(breaker.state(at: time(1)) == .closed)
    }

    @Test("What went before a success and fails after it, however late, does not count")
    func lateFailures() {
        let breaker = Breaker()
        guard let first = breaker.enter(at: time(1)), let second = breaker.enter(at: time(1)),
            let third = breaker.enter(at: time(1))
        else {
            Issue.record("a closed breaker holds requests")
            return
        }
        breaker.enter(at: time(2))?.succeeded()
        first.failed(at: time(9), policy)
        second.failed(at: time(9), policy)
        third.failed(at: time(9), policy)
        #expect(breaker.state(at: time(9)) == .closed)
        for _ in 0..<3 { fail(breaker, at: time(9)) }
        #expect(breaker.state(at: time(9)) == .open)
    }

    @Test("After its time one request may try, and only one")
    func probes() {
        let breaker = Breaker()
        for _ in 0..<3 { fail(breaker, at: time(1)) }
        #expect(breaker.state(at: time(6)) == .halfOpen)
        guard let probe = breaker.enter(at: time(6)) else {
            Issue.record("no try was let go")
            return
        }
        #expect(!enters(breaker, at: time(6)))
        #expect(breaker.state(at: time(6)) == .halfOpen)
        probe.succeeded()
        #expect(breaker.state(at: time(6)) == .closed)
        #expect(breaker.allows(at: time(6)))
    }

    @Test("A try that fails keeps it open for as long again")
    func reopens() {
        let breaker = Breaker()
        for _ in 0..<3 { fail(breaker, at: time(1)) }
        fail(breaker, at: time(7))
        #expect(breaker.state(at: time(11)) == .open)
        #expect(breaker.state(at: time(12)) == .halfOpen)
    }

    @Test("A try that says nothing lets the next one try")
    func abandons() {
        let breaker = Breaker()
        for _ in 0..<3 { fail(breaker, at: time(1)) }
        #expect(enters(breaker, at: time(6)))
        #expect(enters(breaker, at: time(6)))
    }

    @Test("What was sent before it opened neither closes it nor keeps it open")
    func lateNews() {
        let breaker = Breaker()
        guard let early = breaker.enter(at: time(1)), let late = breaker.enter(at: time(1)) else {
            Issue.record("a closed breaker let nothing go")
            return
        }
        for _ in 0..<3 { fail(breaker, at: time(1)) }
        early.succeeded()
        #expect(breaker.state(at: time(1)) == .open)
        late.failed(at: time(5), policy)
        #expect(breaker.state(at: time(6)) == .halfOpen)
    }
}
