import TestSupport
import Testing

@testable import Admission

@Suite("static-usage-limit-policy")
struct StaticUsageLimitPolicyTests {
    @Test("A lower ceiling keeps a part of the pool free", arguments: [(0.5, 5), (0.3, 3), (1.0, 10)])
    func usageLimit(threshold: Double, expected: Int) {
        let harness = Harness(endpoints: 1, perEndpoint: 10) {
            $0.usageLimit = StaticUsageLimitPolicy(threshold: threshold)
        }
        let admitted = (0..<10).filter { _ in harness.admit().isAdmitted }
        #expect(admitted.count == expected)
    }
}
