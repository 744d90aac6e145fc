import Testing

@testable import apus

@Suite("Heap")
struct HeapTests {
    private let much = HeapReturn.slack + 1

    /// What successive looks say.
    private func looks(_ readings: [(resident: Int, used: Int)]) -> [Bool] {
        var heap = HeapReturn()
        return readings.map { heap.isDue(resident: $0.resident, used: $0.used) }
    }

    @Test("Free memory is given back only when it was left unused for several looks in a row, and then counted anew")
    func patience() {
        let quiet = [Bool](repeating: false, count: HeapReturn.patience - 1)
        let readings = Array(repeating: (resident: much, used: 0), count: HeapReturn.patience + 1)
        #expect(looks(readings) == quiet + [true, false])
    }

    @Test("A look that finds the memory in use starts the count again")
    func burst() {
        var readings = Array(repeating: (resident: much, used: 0), count: HeapReturn.patience + 1)
        readings[HeapReturn.patience - 1] = (2 * much, much + 1)
        #expect(!looks(readings).contains(true))
    }
}
