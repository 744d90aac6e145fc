import Testing

@testable import apus_bench

@Suite struct StatisticsTests {
    @Test("The median of an odd count is the middle value, of an even count the mean of the two")
    func median() {
        #expect(Spread([3, 1, 2]).median == 2)
        #expect(Spread([4, 1, 2, 3]).median == 2.5)
        let spread = Spread([7, 5, 9])
        #expect(spread.lowest == 5 && spread.highest == 9)
        #expect(Spread([]).median == 0)
    }

    @Test("A quantile is a value of the list, the last one at the end")
    func quantiles() {
        let values = (1...100).map { Double($0) }
        #expect(values.quantile(0.5) == 51)
        #expect(values.quantile(0.99) == 100)
        #expect(values.quantile(1) == 100)
        #expect([Double]().quantile(0.5) == 0)
    }

    @Test(
        "Numbers have the digits asked for, and commas between thousands",
        arguments: [
            (1234567.891, 1, "1,234,567.9"), (999.95, 1, "1,000.0"), (-1234.5, 0, "-1,235"), (0.005, 2, "0.01"),
            (-0.5, 2, "-0.50"), (12, 0, "12"), (100_000, 0, "100,000"), (-100_000, 1, "-100,000.0"),
        ]
    )
    func numbers(_ value: Double, _ digits: Int, _ text: String) {
        #expect(value.grouped(digits) == text)
    }

    @Test("What is no number is written, not crashed on")
    func infinities() {
        #expect(Double.infinity.grouped(2) == "inf")
        #expect(1e300.grouped(2) == "1e+300")
    }

    @Test("A noun is plural unless there is one")
    func plurals() {
        #expect(1.of("round") == "1 round")
        #expect(2000.of("round") == "2,000 rounds")
    }
}
