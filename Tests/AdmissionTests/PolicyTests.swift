import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("Ordering and fairness")
struct PolicyTests {
    /// Queues requests behind a full pool and says in which order they go.
    private func order(
        _ configure: (inout BandSettings) -> Void,
        _ requests: [(flow: String, ttft: Duration?)]
    ) -> [Int] {
        let harness = Harness { configure(&$0.defaultBand) }
        harness.admit()
        let queued = requests.compactMap { request in
            harness.alarm.advance(by: .milliseconds(1))
            return harness.admit(flow: request.flow, ttft: request.ttft).queued
        }
        var order: [Int] = []
        for _ in queued {
            harness.endOne()
            for (index, request) in queued.enumerated() where request.outcome != nil && !order.contains(index) {
                order.append(index)
                harness.place(request)
            }
        }
        return order
    }

    @Test("fcfs: in the order of arrival, whatever the flow")
    func firstCome() {
        let requests = ["a", "b", "a", "c", "b"].map { (flow: $0, ttft: Duration?.none) }
        #expect(order({ $0.ordering = FCFSOrderingPolicy() }, requests) == [0, 1, 2, 3, 4])
    }

    @Test("edf: with one time to live for all, the deadlines are in the order of arrival")
    func earliestDeadline() {
        let requests = ["a", "b", "a"].map { (flow: $0, ttft: Duration?.none) }
        #expect(order({ $0.ordering = EDFOrderingPolicy() }, requests) == [0, 1, 2])
        let time = MonotonicTime(nanoseconds: 5)
        let policy = EDFOrderingPolicy()
        let request = AdmissionRequest(receivedAt: time)
        #expect(policy.key(of: request, queuedAt: time, expiresAt: time + .nanoseconds(2)) == 7)
        #expect(policy.key(of: request, queuedAt: time, expiresAt: nil) == .max)
    }

    @Test("slo-deadline: whose first token is due first; who says nothing goes last")
    func sloDeadline() {
        let requests: [(flow: String, ttft: Duration?)] = [
            ("a", nil), ("a", .milliseconds(900)), ("b", .milliseconds(100)), ("a", nil), ("c", .milliseconds(500)),
        ]
        #expect(order({ $0.ordering = SLODeadlineOrderingPolicy() }, requests) == [2, 4, 1, 0, 3])
    }

    @Test("round-robin: one of each flow in turn, and within a flow by the ordering policy")
    func roundRobin() {
        let flows = ["a", "a", "a", "b", "b", "c"].map { (flow: $0, ttft: Duration?.none) }
        #expect(order({ $0.fairness = RoundRobinFairnessPolicy() }, flows) == [0, 3, 5, 1, 4, 2])
        let deadlines: [(flow: String, ttft: Duration?)] = [
            ("a", .milliseconds(900)), ("a", .milliseconds(100)), ("b", .milliseconds(800)), ("b", .milliseconds(700)),
        ]
        let both: (inout BandSettings) -> Void = {
            $0.fairness = RoundRobinFairnessPolicy()
            $0.ordering = SLODeadlineOrderingPolicy()
        }
        #expect(order(both, deadlines) == [1, 3, 0, 2])
    }

    @Test("round-robin: flows that empty and come back, in any number, keep their place and lose nobody")
    func roundRobinChurn() throws {
        let harness = Harness {
            $0.defaultBand.fairness = RoundRobinFairnessPolicy()
            $0.defaultBand.maxRequests = 10_000
        }
        harness.admit()
        let kept = try (0..<10).map { try #require(harness.admit(flow: "kept\($0)").queued) }
        for round in 0..<1_000 {
            let gone = try #require(harness.admit(flow: "gone\(round)").queued)
            harness.controller.leave(gone)
        }
        for index in 0..<10 {
            harness.endOne()
            #expect(kept[index].outcome == .dispatched)
            harness.place(kept[index])
        }
        #expect(harness.controller.waiting.requests == 0)
    }

    @Test("A heap gives requests by key and arrival, also when any of them leave before")
    func heap() {
        var generator = SeededGenerator(seed: 7)
        let time = MonotonicTime(nanoseconds: 1)
        for _ in 0..<50 {
            var heap = RequestHeap()
            var model: [QueuedRequest] = []
            for number in 0..<UInt64(200) {
                let request = QueuedRequest(AdmissionRequest(receivedAt: time), number: number, queuedAt: time)
                request.key = .random(in: 0..<20, using: &generator)
                heap.insert(request)
                model.append(request)
                if Int.random(in: 0..<3, using: &generator) == 0, let gone = model.randomElement(using: &generator) {
                    let (first, second) = (heap.remove(gone), heap.remove(gone))
                    #expect(first && !second)
                    model.removeAll { $0 === gone }
                }
            }
            model.sort { ($0.key, $0.number) < ($1.key, $1.number) }
            var numbers: [UInt64] = []
            while let next = heap.popFirst() { numbers.append(next.number) }
            #expect(numbers == model.map(\.number))
        }
    }

    @Test("A list of arrivals knows its ends and is no longer than what is in it needs")
    func arrivals() {
        var generator = SeededGenerator(seed: 8)
        let time = MonotonicTime(nanoseconds: 1)
        var list = ArrivalList()
        var model: [QueuedRequest] = []
        for number in 0..<UInt64(5_000) {
            let request = QueuedRequest(AdmissionRequest(receivedAt: time), number: number, queuedAt: time)
            list.append(request)
            model.append(request)
            while model.count > 20 || (number > 4_000 && !model.isEmpty && number % 3 == 0) {
                let index = Int.random(in: 0..<model.count, using: &generator)
                list.remove(model.remove(at: index))
                if number > 4_000 { break }
            }
            #expect(list.count == model.count)
            #expect(list.first === model.first && list.last === model.last)
        }
        var numbers: [UInt64] = []
        list.forEach { numbers.append($0.number) }
        #expect(numbers == model.map(\.number))
    }
}
