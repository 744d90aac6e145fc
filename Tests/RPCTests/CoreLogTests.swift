import Testing

@testable import RPC

@Suite("Core's log")
struct CoreLogTests {
    @Test("Five lines a second are passed on, and the next second tells how many were left out")
    func limits() {
        var limit = CoreLog.Limit()
        let first = (0..<30).map { _ in limit.admit(second: 7) }
        #expect(first == [0, 0, 0, 0, 0] + [Int?](repeating: nil, count: 25))
        #expect(limit.admit(second: 8) == 25)
        #expect(limit.admit(second: 8) == 0)
    }
}
