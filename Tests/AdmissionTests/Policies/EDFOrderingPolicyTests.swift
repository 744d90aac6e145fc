import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("edf-ordering-policy")
struct EDFOrderingPolicyTests {
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
}
