import Scheduling
import Testing

@Suite("header-based-testing-filter")
struct HeaderBasedTestingFilterTests {
    private func kept(_ value: String?) -> [Int] {
        var headers: [String: String] = [:]
        headers["test-epp-endpoint-selection"] = value
        return SchedulingTests.kept(
            HeaderBasedTestingFilter(),
            makePool(count: 4).everyone,
            request(headers: headers)
        )
    }

    @Test("The listed endpoints are kept, by address or by address and port")
    func listed() {
        #expect(kept("10.0.0.2") == [2])
        #expect(kept("10.0.0.3:8000, 10.0.0.1") == [1, 3])
        #expect(kept("10.0.0.1,10.0.0.1:8000") == [1])
        #expect(kept("10.0.0.1:9999") == [])
    }

    @Test("Without the header, or with an empty one, nobody is")
    func absent() {
        #expect(kept(nil) == [])
        #expect(kept("  ") == [])
        #expect(kept(",,") == [])
    }
}
