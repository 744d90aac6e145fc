import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("How much may wait, and for how long")
struct CapacityTests {
    @Test("A band takes its number of requests and of bytes, and no more")
    func bandLimits() {
        let harness = Harness { settings in
            settings.defaultBand.maxRequests = 3
            settings.defaultBand.maxBytes = 100
        }
        harness.admit()
        #expect(harness.admit(bytes: 60).queued != nil)
        #expect(harness.admit(bytes: 41).refusal == .queueFull)
        #expect(harness.admit(bytes: 40).queued != nil)
        #expect(harness.admit(bytes: 0).queued != nil)
        #expect(harness.admit(bytes: 0).refusal == .queueFull)
        #expect(harness.admit(priority: 1, bytes: 100).queued != nil, "another band has its own")
        #expect(harness.controller.waiting == (4, 200))
    }

    @Test("Named bands, negative ones and the rest have their own settings")
    func bandSettings() {
        let harness = Harness { settings in
            var one = BandSettings()
            one.maxRequests = 1
            settings.bands[7] = one
            settings.defaultNegativeBand = one
            settings.defaultBand.maxRequests = 2
        }
        harness.admit()
        for (priority, count) in [(7, 1), (-3, 1), (2, 2)] {
            let queued = (0..<3).filter { _ in harness.admit(priority: priority).queued != nil }
            #expect(queued.count == count, "priority \(priority)")
        }
    }

    @Test("A full queue sheds the newest of the lowest priority below 0 for a higher one")
    func displacement() throws {
        let harness = Harness { $0.maxRequests = 3 }
        harness.admit()
        let first = try #require(harness.admit(priority: -1).queued)
        let second = try #require(harness.admit(priority: -2).queued)
        let third = try #require(harness.admit(priority: -2).queued)
        #expect(harness.admit(priority: -2).refusal == .queueFull, "not for one of the same priority")
        #expect(harness.admit(priority: 0).queued != nil)
        #expect([first.outcome, second.outcome, third.outcome] == [nil, nil, .displaced])
        #expect(harness.admit(priority: -1).queued != nil)
        #expect([first.outcome, second.outcome] == [nil, .displaced])
        #expect(harness.admit(priority: 0).queued != nil)
        #expect(harness.admit(priority: 0).queued != nil)
        #expect(first.outcome == .displaced)
        #expect(harness.admit(priority: 3).refusal == .queueFull, "priorities from 0 on are never shed")
        #expect(harness.controller.waiting.requests == 3)
    }

    @Test("Nobody is displaced for a request that does not fit even then")
    func displacementInVain() throws {
        let harness = Harness { $0.maxBytes = 100 }
        harness.admit()
        let sheddable = try #require(harness.admit(priority: -1, bytes: 30).queued)
        let regular = try #require(harness.admit(bytes: 50).queued)
        #expect(harness.admit(bytes: 60).refusal == .queueFull)
        #expect(sheddable.outcome == nil && regular.outcome == nil)
        #expect(harness.admit(bytes: 50).queued != nil)
        #expect(sheddable.outcome == .displaced)
        #expect(harness.controller.waiting == (2, 100))
    }

    @Test("Who waits calls back one dispatched sheddable request each: the lowest priority, of those the newest")
    func callBack() throws {
        let harness = Harness(endpoints: 1, perEndpoint: 4) { $0.evictsDispatched = true }
        let called = EventLog<Int>()
        for _ in 0..<4 { harness.admit() }
        var places: [Place?] = [-1, -3, -3, -2].enumerated().map { index, priority in
            guard let place = harness.controller.mayCallBack(priority: priority, { called.append(index) }) else {
                return nil
            }
            return Place(place)
        }
        harness.admit(priority: -3)
        #expect(called.entries.isEmpty, "not for one of the same priority")
        harness.admit(priority: 0)
        #expect(called.entries == [2])
        harness.pool.replaceEndpoints([Harness.description(0), Harness.description(0)])
        #expect(called.entries == [2], "one is enough while it ends")
        places[1] = nil
        harness.admit(priority: 1)
        #expect(called.entries == [2, 3])
        harness.admit(priority: -1)
        #expect(called.entries == [2, 3], "what is left is not lower")
        places.removeAll()
    }

    private final class Place {
        private let place: CallBackPlace

        init(_ place: consuming CallBackPlace) { self.place = place }
    }

    @Test("Who has waited for the time to live is sent away, to the nanosecond, by one alarm")
    func timeToLive() throws {
        let harness = Harness { $0.requestTTL = .seconds(10) }
        harness.admit()
        let start = harness.alarm.now
        let first = try #require(harness.admit().queued)
        #expect(harness.alarm.setFor == start + .seconds(10))
        harness.alarm.advance(by: .seconds(4))
        let second = try #require(harness.admit(priority: 3).queued)
        #expect(harness.alarm.setFor == start + .seconds(10))
        harness.alarm.advance(by: .seconds(6) - .nanoseconds(1))
        #expect(first.outcome == nil)
        harness.alarm.advance(by: .nanoseconds(1))
        #expect(first.outcome == .expired && second.outcome == nil)
        #expect(harness.alarm.setFor == start + .seconds(14))
        harness.alarm.advance(by: .seconds(4))
        #expect(second.outcome == .expired)
        #expect(harness.alarm.setFor == nil)
    }

    @Test("Without a time to live a request waits as long as its client")
    func noTimeToLive() throws {
        let harness = Harness { $0.requestTTL = nil }
        harness.admit()
        let queued = try #require(harness.admit().queued)
        #expect(harness.alarm.setFor == nil)
        harness.alarm.advance(by: .seconds(1_000_000))
        harness.controller.expire()
        #expect(queued.outcome == nil)
    }

    @Test("An empty pool makes requests wait for an endpoint, and go when one appears")
    func scaleFromZero() throws {
        let harness = Harness(endpoints: 0) { $0.noEndpointTTL = .seconds(300) }
        let queued = try #require(harness.admit().queued)
        harness.alarm.advance(by: .seconds(200))
        #expect(queued.outcome == nil)
        harness.pool.replaceEndpoints([Harness.description(0)])
        #expect(queued.outcome == .dispatched)
    }

    @Test("The time to live begins anew when the first endpoint comes or the last one goes")
    func regimes() throws {
        let harness = Harness(endpoints: 0) { settings in
            settings.requestTTL = .seconds(10)
            settings.noEndpointTTL = .seconds(100)
        }
        let first = try #require(harness.admit().queued)
        let second = try #require(harness.admit().queued)
        harness.alarm.advance(by: .seconds(90))
        harness.pool.replaceEndpoints([Harness.description(0)])
        harness.place(first)
        #expect(first.outcome == .dispatched)
        harness.alarm.advance(by: .seconds(9))
        #expect(second.outcome == nil)
        harness.alarm.advance(by: .seconds(1))
        #expect(second.outcome == .expired)
        harness.pool.replaceEndpoints([])
        let third = try #require(harness.admit().queued)
        harness.alarm.advance(by: .seconds(100))
        #expect(third.outcome == .noEndpointsCame, "that is no lack of room")
    }

    @Test("A request may say how long it waits, shorter or longer than the others; who leaves is forgotten")
    func ownTimeToLive() throws {
        let harness = Harness { $0.requestTTL = .seconds(60) }
        harness.admit()
        let long = try #require(harness.admit(timeToLive: .seconds(300)).queued)
        let common = try #require(harness.admit().queued)
        let short = try #require(harness.admit(timeToLive: .seconds(5)).queued)
        let left = try #require(harness.admit(timeToLive: .seconds(2)).queued)
        harness.controller.leave(left)
        harness.alarm.advance(by: .milliseconds(4_999))
        #expect([long, common, short].allSatisfy { $0.outcome == nil })
        harness.alarm.advance(by: .milliseconds(1))
        #expect(short.outcome == .expired)
        harness.alarm.advance(by: .seconds(55))
        #expect(common.outcome == .expired && long.outcome == nil)
        harness.alarm.advance(by: .seconds(240))
        #expect(long.outcome == .expired)
        #expect(harness.controller.waiting.requests == 0)
    }

    @Test("The heap of own ends is bounded by what waits, and ordered whatever comes and goes")
    func expiryHeap() {
        var heap = ExpiryHeap()
        var generator = SeededGenerator(seed: 5)
        var live: [(UInt64, QueuedRequest)] = []
        for number in 0..<20_000 {
            let end = UInt64.random(in: 0..<1_000_000, using: &generator)
            let request = QueuedRequest(
                AdmissionRequest(receivedAt: MonotonicTime(nanoseconds: 0)),
                number: UInt64(number),
                queuedAt: MonotonicTime(nanoseconds: 0)
            )
            heap.insert(request, at: MonotonicTime(nanoseconds: end))
            live.append((end, request))
            if live.count > 100 {
                live.remove(at: Int.random(in: 0..<live.count, using: &generator)).1.outcome = .cancelled
            }
            #expect(heap.count <= 2 * 101 + 65)
            #expect(heap.first()?.at.nanoseconds == live.map(\.0).min())
        }
    }

    @Test("A full queue of an empty pool says that there is no endpoint")
    func emptyAndFull() {
        let harness = Harness(endpoints: 0) { $0.defaultBand.maxRequests = 1 }
        harness.admit()
        #expect(harness.admit().refusal == .noEndpoints)
    }

    @Test("What clients are told to wait grows with the queue and stays between 1 and 60 seconds")
    func retryAfter() {
        var pace = DispatchPace()
        #expect(pace.secondsToDrain(1000) == 1)
        for second in 0..<100 { pace.dispatched(at: MonotonicTime(nanoseconds: 1_000_000_000 * UInt64(second + 1))) }
        #expect(pace.secondsToDrain(0) == 1)
        #expect(pace.secondsToDrain(10) == 10)
        #expect(pace.secondsToDrain(1000) == 60)
    }
}
