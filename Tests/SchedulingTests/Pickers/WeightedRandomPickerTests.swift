import Bytes
import Scheduling
import Testing

@Suite("weighted-random-picker")
struct WeightedRandomPickerTests {
    private func counts(_ totals: [Float], _ maxNumOfEndpoints: Int) -> [Int] {
        var generator = SeededGenerator(seed: 6)
        let picker = WeightedRandomPicker(maxNumOfEndpoints: maxNumOfEndpoints)
        var counts = [Int](repeating: 0, count: totals.count)
        for _ in 0..<10_000 { counts[picker.pick(totals, using: &generator)[0]] += 1 }
        return counts
    }

    @Test("First picks are in proportion to the totals", arguments: [1, 2])
    func proportional(maxNumOfEndpoints: Int) {
        let counts = counts([1, 2, 0, 7], maxNumOfEndpoints)
        // The standard deviation is at most 46.
        #expect(abs(counts[0] - 1_000) < 250 && abs(counts[1] - 2_000) < 250 && abs(counts[3] - 7_000) < 250)
        #expect(counts[2] == 0)
    }

    @Test("Tiny totals keep their proportion, which powers of the draw would lose")
    func tiny() {
        let counts = counts([1e-6, 3e-6], 1)
        #expect(abs(counts[0] - 2_500) < 250, "\(counts)")
    }

    @Test("With totals of 0 for all, each has the same chance")
    func zeros() {
        let counts = counts([0, 0, 0, 0], 1)
        #expect(counts.allSatisfy { abs($0 - 2_500) < 250 }, "\(counts)")
        #expect(WeightedRandomPicker(maxNumOfEndpoints: 2).maxNumOfEndpoints == 2)
    }

    @Test("Several are different ones, those with a total of 0 last")
    func several() {
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<200 {
            let picked = WeightedRandomPicker(maxNumOfEndpoints: 4).pick([1, 0, 2, 0], using: &generator)
            #expect(Set(picked) == [0, 1, 2, 3])
            #expect(Set(picked.prefix(2)) == [0, 2])
        }
        #expect(WeightedRandomPicker(maxNumOfEndpoints: 3).pick([], using: &generator) == [])
        #expect(WeightedRandomPicker().pick([0.2], using: &generator) == [0])
    }
}
