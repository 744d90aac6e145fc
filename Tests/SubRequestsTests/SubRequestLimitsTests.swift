import Bytes
import SubRequests
import Testing

@Suite("Permits")
struct SubRequestLimitsTests {
    @Test("A permit is refused over either limit, at once, and says which")
    func refused() throws {
        let limits = SubRequestLimits(maxConcurrent: 3, maxPerEndpoint: 2)
        do {
            let first = try limits.acquire("a")
            let second = try limits.acquire("a")
            #expect(throws: NoPermit.endpoint) { _ = try limits.acquire("a") }
            let third = try limits.acquire("b")
            #expect(throws: NoPermit.overall) { _ = try limits.acquire("c") }
            if limits.tryAcquire("c") != nil { Issue.record("a fourth permit") }
            #expect(limits.inUse == 3)
            #expect(limits.inUse("a") == 2)
            #expect(limits.counts.perEndpoint == ["a": 2, "b": 1])
            #expect(limits.counts.refusedOverall == 2)
            #expect(limits.counts.refusedByEndpoint == 1)
            _ = consume first
            _ = consume second
            _ = consume third
        }
        #expect(limits.inUse == 0)
        #expect(limits.counts.perEndpoint.isEmpty)
    }

    @Test("What is urgent gets a permit over the limits, which counts")
    func urgent() throws {
        let limits = SubRequestLimits(maxConcurrent: 2, maxPerEndpoint: 1)
        let first = try limits.acquire("a")
        let second = try limits.acquire("a", isUrgent: true)
        let third = try limits.acquire("b", isUrgent: true)
        #expect(limits.inUse == 3)
        #expect(throws: NoPermit.overall) { _ = try limits.acquire("c") }
        _ = consume first
        _ = consume second
        _ = consume third
        #expect(limits.inUse == 0)
    }

    @Test("Whether there is room can be told beforehand")
    func room() throws {
        let limits = SubRequestLimits(maxConcurrent: 3, maxPerEndpoint: 2)
        #expect(!limits.isFullSomewhere && limits.hasRoom("a"))
        let first = try limits.acquire("a")
        #expect(!limits.isFullSomewhere && limits.hasRoom("a"))
        let second = try limits.acquire("a")
        #expect(limits.isFullSomewhere && !limits.hasRoom("a") && limits.hasRoom("b"))
        _ = consume second
        let third = try limits.acquire("b")
        let fourth = try limits.acquire("c")
        #expect(limits.isFullSomewhere && !limits.hasRoom("a") && !limits.hasRoom("d"))
        _ = consume first
        _ = consume third
        _ = consume fourth
        #expect(!limits.isFullSomewhere)
    }

    @Test("New limits hold for new permits")
    func update() throws {
        let limits = SubRequestLimits(maxConcurrent: 2, maxPerEndpoint: 2)
        let first = try limits.acquire("a")
        let second = try limits.acquire("a")
        limits.update(maxConcurrent: 1, maxPerEndpoint: 1)
        _ = consume first
        #expect(throws: NoPermit.overall) { _ = try limits.acquire("b") }
        _ = consume second
        let third = try limits.acquire("b")
        #expect(third.endpoint == "b")
    }

    @Test("Limits hold and every permit comes back, whoever takes them at the same time")
    func concurrent() async {
        let limits = SubRequestLimits(maxConcurrent: 12, maxPerEndpoint: 4)
        let held = (0..<5).map { _ in Counter() }
        let overall = Counter()
        await withTaskGroup { group in
            for worker in 0..<16 {
                group.addTask {
                    for turn in 0..<1000 {
                        let endpoint = (worker * 7 + turn * 3) % 5
                        guard let permit = limits.tryAcquire("endpoint \(endpoint)") else { continue }
                        overall.enter()
                        held[endpoint].enter()
                        await Task.yield()
                        held[endpoint].leave()
                        overall.leave()
                        _ = consume permit
                    }
                }
            }
        }
        #expect((1...12).contains(overall.most))
        #expect(held.allSatisfy { $0.most <= 4 })
        #expect(limits.counts.inUse == 0)
        #expect(limits.counts.perEndpoint.isEmpty)
    }
}

/// How many were in at the same time at most.
private final class Counter: Sendable {
    private let state = Lock((now: 0, most: 0))

    func enter() {
        state.withLock { state in
            state.now += 1
            state.most = max(state.most, state.now)
        }
    }

    func leave() { state.withLock { $0.now -= 1 } }

    var most: Int { state.withLock { $0.most } }
}
