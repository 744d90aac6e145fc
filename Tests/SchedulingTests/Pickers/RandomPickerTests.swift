import Bytes
import Scheduling
import Testing

@Suite("random-picker")
struct RandomPickerTests {
    @Test("Each candidate is picked equally often, whatever its score", arguments: [1, 3])
    func uniform(maxNumOfEndpoints: Int) {
        var generator = SeededGenerator(seed: 3)
        var counts = [Int](repeating: 0, count: 4)
        for _ in 0..<8_000 {
            counts[RandomPicker(maxNumOfEndpoints: maxNumOfEndpoints).pick([0, 9, 1, 5], using: &generator)[0]] += 1
        }
        // 2000 each are expected; the standard deviation is 39.
        #expect(counts.allSatisfy { abs($0 - 2_000) < 220 }, "\(counts)")
    }

    @Test("Several are different ones, no more than there are")
    func several() {
        var generator = SeededGenerator(seed: 3)
        let picked = RandomPicker(maxNumOfEndpoints: 3).pick([1, 1, 1, 1], using: &generator)
        #expect(Set(picked).count == 3)
        #expect(RandomPicker(maxNumOfEndpoints: 9).pick([1, 1], using: &generator).sorted() == [0, 1])
        #expect(RandomPicker(maxNumOfEndpoints: 0).pick([7], using: &generator) == [0])
        #expect(RandomPicker().pick([], using: &generator) == [])
    }
}
