import Scheduling
import Testing

@Suite("by-label")
struct ByLabelFilterTests {
    private let pool = makePool(labels: [["a": "1", "b": "x"], ["a": "2"], ["b": "x"], [:]])

    @Test("Keeps the valid values and, if it is told to, endpoints without the label")
    func byLabel() {
        let strict = ByLabelFilter(label: "a", validValues: ["2", "9"])
        #expect(kept(strict, pool.everyone) == [1])
        let lenient = ByLabelFilter(label: "a", validValues: ["2"], allowsNoLabel: true)
        #expect(kept(lenient, pool.everyone) == [1, 2, 3])
    }

    @Test("Without a valid value nobody is kept, but those without the label where they are allowed")
    func noValues() {
        #expect(kept(ByLabelFilter(label: "a", validValues: []), pool.everyone) == [])
        #expect(kept(ByLabelFilter(label: "a", validValues: [], allowsNoLabel: true), pool.everyone) == [2, 3])
    }
}
