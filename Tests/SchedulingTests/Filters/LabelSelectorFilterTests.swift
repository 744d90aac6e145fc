import Scheduling
import Testing

@Suite("label-selector-filter")
struct LabelSelectorFilterTests {
    private let pool = makePool(labels: [["a": "1", "b": "x"], ["a": "2"], ["b": "x"], [:]])

    private func kept(_ requirements: LabelSelectorFilter.Requirement...) -> [Int] {
        SchedulingTests.kept(LabelSelectorFilter(requirements), pool.everyone)
    }

    @Test("Operators are Kubernetes': NotIn is met without the label, too")
    func operators() {
        #expect(kept(.init(key: "a", operator: .in, values: ["1", "3"])) == [0])
        #expect(kept(.init(key: "a", operator: .notIn, values: ["1"])) == [1, 2, 3])
        #expect(kept(.init(key: "b", operator: .exists)) == [0, 2])
        #expect(kept(.init(key: "b", operator: .doesNotExist)) == [1, 3])
    }

    @Test("Every requirement must be met; without any everybody is kept")
    func all() {
        #expect(kept(.init(key: "b", operator: .exists), .init(key: "a", operator: .exists)) == [0])
        #expect(kept() == [0, 1, 2, 3])
        #expect(kept(.init(key: "c", operator: .exists)) == [])
    }
}
