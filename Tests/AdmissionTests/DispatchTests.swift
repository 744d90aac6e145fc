import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("Letting requests in and out")
struct DispatchTests {
    @Test("A request goes at once while there is room, and else when a reservation is given back")
    func eventDriven() throws {
        let harness = Harness(endpoints: 2)
        #expect(harness.admit().isAdmitted)
        #expect(harness.admit().isAdmitted)
        let queued = try #require(harness.admit().queued)
        #expect(queued.outcome == nil)
        #expect(harness.controller.waiting.requests == 1)
        harness.endOne()
        #expect(queued.outcome == .dispatched)
        #expect(harness.controller.waiting.requests == 0)
    }

    @Test("A grant counts from the moment it is given until its load is reserved: nobody else gets the last room")
    func grantsCount() throws {
        let harness = Harness()
        let request = AdmissionRequest(receivedAt: harness.alarm.now)
        let candidates = { harness.pool.candidates(at: harness.alarm.now) }
        guard case .admitted(let grant) = harness.controller.admit(request, candidates: candidates) else {
            Issue.record("there is room")
            return
        }
        #expect(harness.inFlight == 0)
        let second = try #require(harness.admit().queued)
        harness.place(grant, tokens: 0)
        #expect(harness.inFlight == 1)
        #expect(second.outcome == nil)
        harness.endOne()
        #expect(second.outcome == .dispatched)
        // The second is dispatched and not placed yet.
        let third = try #require(harness.admit().queued)
        harness.place(second)
        #expect(third.outcome == nil)
    }

    @Test("A reload that measures in another way leaves nothing of what was granted before it")
    func reloadBetweenGrantAndPlace() throws {
        var byTokens = ConcurrencyDetector()
        byTokens.mode = .tokens
        byTokens.maxTokenConcurrency = 10_000
        let harness = Harness(detector: byTokens)
        let request = AdmissionRequest(tokens: 5_000, receivedAt: harness.alarm.now)
        let candidates = { harness.pool.candidates(at: harness.alarm.now) }
        guard case .admitted(let grant) = harness.controller.admit(request, candidates: candidates) else {
            Issue.record("there is room")
            return
        }
        #expect(harness.controller.saturation == 0.5)
        var byRequests = ConcurrencyDetector()
        byRequests.maxConcurrency = 4
        harness.controller.update(
            settings: AdmissionSettings(detector: byRequests, flowControl: FlowControlSettings())
        )
        #expect(harness.controller.saturation == 0.25)
        harness.place(grant, tokens: 5_000)
        #expect(harness.controller.saturation == 0.25, "its reservation stands for it now")
        harness.endOne()
        #expect(harness.controller.saturation == 0)
    }

    @Test("A grant without a reservation makes room again when it is dropped")
    func droppedGrant() throws {
        let harness = Harness()
        harness.admit()
        let second = try #require(harness.admit().queued)
        let third = try #require(harness.admit().queued)
        harness.endOne()
        #expect(second.outcome == .dispatched && third.outcome == nil)
        harness.controller.grant(of: second).release()
        #expect(third.outcome == .dispatched)
    }

    @Test("The highest priority goes first; a new request does not overtake one of its own priority")
    func strictPriority() throws {
        let harness = Harness()
        harness.admit()
        let low = try #require(harness.admit(priority: -1).queued)
        let middle = try #require(harness.admit(priority: 0).queued)
        let high = try #require(harness.admit(priority: 5).queued)
        let later = try #require(harness.admit(priority: 5).queued)
        var order: [Int] = []
        let all = [low, middle, high, later]
        while order.count < all.count {
            harness.endOne()
            for (index, queued) in all.enumerated() where queued.outcome != nil && !order.contains(index) {
                order.append(index)
                harness.place(queued)
            }
        }
        #expect(order == [2, 3, 1, 0])
    }

    @Test("Much room is taken by many at once")
    func burst() throws {
        let harness = Harness(endpoints: 1, perEndpoint: 10)
        for _ in 0..<10 { harness.admit() }
        let waiting = try (0..<20).map { _ in try #require(harness.admit().queued) }
        harness.pool.replaceEndpoints((0..<2).map { Harness.description($0) })
        #expect(
            waiting.map { $0.outcome != nil } == Array(repeating: true, count: 10) + Array(repeating: false, count: 10)
        )
    }

    @Test("Who hangs up leaves the queue at once, and those behind keep their order")
    func hangUp() throws {
        let harness = Harness()
        harness.admit()
        let waiting = try (0..<3).map { try #require(harness.admit(bytes: $0 + 1).queued) }
        harness.controller.leave(waiting[0])
        #expect(waiting[0].outcome == .cancelled)
        #expect(harness.controller.waiting == (2, 5))
        harness.endOne()
        #expect(waiting[1].outcome == .dispatched && waiting[2].outcome == nil)
        harness.controller.leave(waiting[1])
        #expect(waiting[1].outcome == .dispatched, "an outcome is final")
    }

    @Test("While it drains, what can go at once goes, and the rest is refused")
    func drain() throws {
        let harness = Harness()
        harness.admit()
        let queued = try #require(harness.admit().queued)
        harness.controller.drain()
        #expect(queued.outcome == .shuttingDown)
        #expect(harness.admit().refusal == .refusedByShutdown)
        harness.endOne()
        #expect(harness.admit().isAdmitted)
    }

    @Test("A task that waits is resumed with the outcome; a cancelled one leaves")
    func tasks() async throws {
        let harness = Harness()
        harness.admit()
        let controller = harness.controller
        let first = try #require(harness.admit().queued)
        let second = try #require(harness.admit().queued)
        let waiting = Task { await controller.outcome(of: first) }
        let cancelled = Task { await controller.outcome(of: second) }
        cancelled.cancel()
        #expect(await cancelled.value == .cancelled)
        #expect(controller.waiting.requests == 1)
        harness.endOne()
        #expect(await waiting.value == .dispatched)
        harness.controller.grant(of: first).release()
    }

    @Test("Without flow control only a sheddable request is refused, and only when the pool is full and not empty")
    func legacyRule() {
        let harness = Harness()
        var detector = ConcurrencyDetector()
        detector.maxConcurrency = 1
        harness.controller.update(settings: AdmissionSettings(detector: detector, flowControl: nil))
        #expect(harness.admit(priority: -1).isAdmitted)
        #expect(harness.admit(priority: -1).refusal == .shed)
        #expect(harness.admit(priority: 0).isAdmitted)
        harness.pool.replaceEndpoints([])
        #expect(harness.admit(priority: -1).isAdmitted, "the scheduler says that nobody is there")
    }

    @Test("New settings keep what waits, however little they allow")
    func settingsShrink() throws {
        let harness = Harness()
        harness.admit()
        let waiting = try (0..<3).map { _ in try #require(harness.admit().queued) }
        var concurrency = ConcurrencyDetector()
        concurrency.maxConcurrency = 1
        var smaller = FlowControlSettings()
        smaller.defaultBand.maxRequests = 1
        smaller.defaultBand.ordering = SLODeadlineOrderingPolicy()
        smaller.defaultBand.fairness = RoundRobinFairnessPolicy()
        harness.controller.update(settings: AdmissionSettings(detector: concurrency, flowControl: smaller))
        #expect(harness.admit().refusal == .queueFull)
        harness.endOne()
        #expect(waiting[0].outcome == .dispatched && waiting[1].outcome == nil)
        harness.place(waiting[0])
        harness.controller.update(settings: AdmissionSettings(detector: concurrency, flowControl: nil))
        #expect(waiting.allSatisfy { $0.outcome == .dispatched })
    }
}
