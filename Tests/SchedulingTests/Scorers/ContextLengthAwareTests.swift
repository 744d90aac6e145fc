import Bytes
import Scheduling
import Testing

@Suite("context-length-aware")
struct ContextLengthAwareTests {
    private static let label = "llm-d.ai/context-length-range"

    private func request(_ tokens: Int) -> SchedulingRequest {
        SchedulingRequest(model: "m", targetModel: "m", estimatedTokens: tokens)
    }

    private func score(_ range: String?, _ tokens: Int) -> Float {
        let pool = makePool(labels: [range.map { [Self.label: $0] } ?? [:]])
        return scores(ContextLengthAware(), pool.everyone, request(tokens))[0]
    }

    @Test("In the range: 0.3 + 0.7 × (0.7 / (1 + width / 10000) + 0.3 × room)")
    func inRange() {
        // Width 2000, half of it left.
        #expect(abs(score("0-2000", 1_000) - (0.3 + 0.7 * (0.7 / 1.2 + 0.3 * 0.5))) < 1e-6)
        #expect(abs(score("0-10000", 10_000) - (0.3 + 0.7 * 0.35)) < 1e-6)
        #expect(score("512-512", 512) == 1)
    }

    @Test("Outside: 0.3 / (1 + distance / 1000), always below any in the range")
    func outside() {
        #expect(abs(score("0-1000", 2_000) - 0.15) < 1e-6)
        #expect(abs(score("4000-8000", 1_000) - 0.075) < 1e-6)
        #expect(score("0-1000", 1_001) < score("0-100000000", 100_000_000))
    }

    @Test(
        "Without a label 0.5, with one that is no range 0",
        arguments: ["", "5", "8-4", "a-b", "1-2-3", "-5-9", "9 9-12"]
    )
    func strange(range: String) {
        #expect(score(nil, 100) == 0.5)
        #expect(score(range, 100) == 0)
    }

    @Test("Spaces around the bounds do not matter")
    func spaces() {
        #expect(score(" 512 - 512 ", 512) == 1)
    }

    @Test("With filtering only endpoints for that length are left, those without the label among them")
    func filtering() {
        let pool = makePool(labels: ["0-100", "101-200", "junk"].map { [Self.label: $0] } + [[:]])
        #expect(kept(ContextLengthAware(enableFiltering: true), pool.everyone, request(100)) == [0, 3])
        #expect(kept(ContextLengthAware(enableFiltering: true), pool.everyone, request(101)) == [1, 3])
        #expect(kept(ContextLengthAware(), pool.everyone, request(100)) == [0, 1, 2, 3])
    }

    @Test("Scores stay in 0...1, and in a range above 0.3, whatever the label and the length")
    func bounds() {
        var generator = SeededGenerator(seed: 8)
        for _ in 0..<500 {
            let lower = Int.random(in: 0...200_000, using: &generator)
            let upper = lower + Int.random(in: 0...200_000, using: &generator)
            let tokens = Int.random(in: 0...500_000, using: &generator)
            let found = score("\(lower)-\(upper)", tokens)
            #expect((0...1).contains(found))
            #expect((lower...upper).contains(tokens) == (found > 0.3))
        }
    }
}
