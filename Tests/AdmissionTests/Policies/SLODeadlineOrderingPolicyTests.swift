import Bytes
import Pool
import TestSupport
import Testing

@testable import Admission

@Suite("slo-deadline-ordering-policy")
struct SLODeadlineOrderingPolicyTests {
    @Test("slo-deadline: whose first token is due first; who says nothing goes last")
    func sloDeadline() {
        let requests: [(flow: String, ttft: Duration?)] = [
            ("a", nil), ("a", .milliseconds(900)), ("b", .milliseconds(100)), ("a", nil), ("c", .milliseconds(500)),
        ]
        #expect(order({ $0.ordering = SLODeadlineOrderingPolicy() }, requests) == [2, 4, 1, 0, 3])
    }
}
