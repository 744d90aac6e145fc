import Bytes
import Scheduling
import Testing

@Suite("max-score-picker")
struct MaxScorePickerTests {
    @Test("The highest total wins")
    func best() {
        var generator = SeededGenerator(seed: 1)
        #expect(MaxScorePicker().pick([1, 3, 2], using: &generator) == [1])
        #expect(MaxScorePicker().pick([7], using: &generator) == [0])
        #expect(MaxScorePicker().pick([], using: &generator) == [])
    }

    @Test("Equals are picked equally often, others never", arguments: [1, 2])
    func ties(maxNumOfEndpoints: Int) {
        var generator = SeededGenerator(seed: 42)
        let picker = MaxScorePicker(maxNumOfEndpoints: maxNumOfEndpoints)
        var counts = [Int](repeating: 0, count: 5)
        for _ in 0..<9_000 { counts[picker.pick([1, 3, 3, 2, 3], using: &generator)[0]] += 1 }
        #expect(counts[0] == 0 && counts[3] == 0)
        // 3000 each are expected; the standard deviation is 45.
        for position in [1, 2, 4] { #expect(abs(counts[position] - 3_000) < 250, "\(counts)") }
    }

    @Test("One seed gives one sequence of picks")
    func seeded() {
        let picks = (0..<2).map { _ in
            var generator = SeededGenerator(seed: 5)
            return (0..<50).map { _ in MaxScorePicker().pick([1, 1, 1, 1], using: &generator) }
        }
        #expect(picks[0] == picks[1])
        #expect(Set(picks[0]).count == 4)
    }

    @Test("Several endpoints come best first, no more than there are")
    func several() {
        var generator = SeededGenerator(seed: 1)
        #expect(MaxScorePicker(maxNumOfEndpoints: 3).pick([1, 4, 2, 3], using: &generator) == [1, 3, 2])
        #expect(MaxScorePicker(maxNumOfEndpoints: 9).pick([1, 4, 2], using: &generator) == [1, 2, 0])
        #expect(MaxScorePicker(maxNumOfEndpoints: 3).pick([], using: &generator) == [])
    }

    @Test("Fewer than one endpoint counts as one")
    func atLeastOne() {
        #expect(MaxScorePicker(maxNumOfEndpoints: 0).maxNumOfEndpoints == 1)
        #expect(MaxScorePicker(maxNumOfEndpoints: -7).maxNumOfEndpoints == 1)
    }
}
