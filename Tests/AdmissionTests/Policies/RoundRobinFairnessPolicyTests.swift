import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("round-robin-fairness-policy")
struct RoundRobinFairnessPolicyTests {
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
}
