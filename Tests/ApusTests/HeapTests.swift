import Testing

@testable import apus

@Suite("Heap")
struct HeapTests {
    private let much = HeapReturn.slack + 1

    @Test("Free memory is given back only when it was left unused for several looks in a row, and then counted anew")
    func patience() {
        var heap = HeapReturn()
        for _ in 1..<HeapReturn.patience { #expect(!heap.isDue(resident: much, used: 0)) }
        #expect(heap.isDue(resident: much, used: 0))
        #expect(!heap.isDue(resident: much, used: 0))
    }

    @Test("A look that finds the memory in use starts the count again")
    func burst() {
        var heap = HeapReturn()
        for _ in 1..<HeapReturn.patience { #expect(!heap.isDue(resident: much, used: 0)) }
        #expect(!heap.isDue(resident: 2 * much, used: much + 1))
        #expect(!heap.isDue(resident: much, used: 0))
    }
}
