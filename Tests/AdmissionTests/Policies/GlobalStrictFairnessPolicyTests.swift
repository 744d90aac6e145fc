import TestSupport
import Testing

@testable import Admission

@Suite("global-strict-fairness-policy")
struct GlobalStrictFairnessPolicyTests {
    @Test("Flows do not count: the ordering policy alone decides")
    func order() {
        let requests: [(flow: String, ttft: Duration?)] = [
            ("a", .milliseconds(900)), ("a", .milliseconds(100)), ("b", .milliseconds(800)), ("b", nil),
        ]
        let configure: (inout BandSettings) -> Void = {
            $0.fairness = GlobalStrictFairnessPolicy()
            $0.ordering = SLODeadlineOrderingPolicy()
        }
        #expect(AdmissionTests.order(configure, requests) == [1, 2, 0, 3])
    }
}
