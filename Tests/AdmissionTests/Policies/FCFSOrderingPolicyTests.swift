import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("fcfs-ordering-policy")
struct FCFSOrderingPolicyTests {
    @Test("fcfs: in the order of arrival, whatever the flow")
    func firstCome() {
        let requests = ["a", "b", "a", "c", "b"].map { (flow: $0, ttft: Duration?.none) }
        #expect(order({ $0.ordering = FCFSOrderingPolicy() }, requests) == [0, 1, 2, 3, 4])
    }
}
