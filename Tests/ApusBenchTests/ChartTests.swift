import Foundation
import Testing

@testable import apus_bench

@Suite struct ChartTests {
    @Test("A linear axis has round ends around the values and begins at 0 where it must")
    func linear() {
        let axis = AxisScale([3, 47], isLogarithmic: false, fromZero: true)
        #expect(axis.low == 0 && axis.high == 50)
        #expect(axis.ticks == [0, 10, 20, 30, 40, 50])
        #expect(axis.place(25) == 0.5)
    }

    @Test("A logarithmic axis spans 1, 2 or 5 times powers of ten, and shows no value that is not positive")
    func logarithmic() throws {
        let axis = AxisScale([0.5, 4096, 0, -3, .nan], isLogarithmic: true, fromZero: false)
        #expect((axis.low - 0.5).magnitude < 1e-9 && (axis.high - 5000).magnitude < 1e-6)
        #expect(axis.ticks.map { AxisScale.label($0) } == ["1", "10", "100", "1,000"])
        #expect(axis.place(0) == nil)
        #expect(axis.place(.nan) == nil)
        let half = try #require(axis.place(50))
        #expect((half - 0.5).magnitude < 1e-9)
    }

    @Test("An axis of one value, of none and of zeros still has two ends", arguments: [[5.0], [], [0, 0], [-2]])
    func degenerate(_ values: [Double]) {
        for isLogarithmic in [false, true] {
            let axis = AxisScale(values, isLogarithmic: isLogarithmic, fromZero: true)
            #expect(axis.high > axis.low)
            #expect(axis.ticks.count >= 2)
        }
    }

    @Test(
        "Ticks are told shortly",
        arguments: [(0.05, "0.05"), (2000, "2,000"), (20_000, "20 k"), (2.5e6, "2.5 M"), (0, "0")]
    )
    func labels(_ value: Double, _ text: String) {
        #expect(AxisScale.label(value) == text)
    }

    @Test("Every point of a curve gets a marker, with a spread bar where rounds differ")
    func curves() {
        let points = [(1.0, Spread([1, 2, 3])), (10.0, Spread([4])), (100.0, Spread([5, 6]))]
        let svg = ChartDrawing.svg(
            Chart(
                title: "c",
                x: .init(title: "x", unit: "", isLogarithmic: true),
                y: .init(title: "y", unit: ""),
                series: [.init(name: "a", points: points.map { .init(x: $0.0, y: $0.1) })]
            )
        )
        #expect(svg.components(separatedBy: "<circle").count == 4)
        // Of a spread bar three lines, of two points.
        #expect(svg.components(separatedBy: "class=\"whisker s0\"").count == 7)
        #expect(svg.components(separatedBy: "<polyline").count == 2)
    }

    @Test("Bars stand at their group, and charts of many bars are wide")
    func bars() {
        var chart = Chart(
            title: "c",
            x: .init(title: "", unit: ""),
            y: .init(title: "y", unit: ""),
            groups: ["one", "two"]
        )
        chart.series = ["a", "b"].map {
            .init(name: $0, points: [.init(x: 0, y: Spread([1])), .init(x: 1, y: Spread([2]))])
        }
        #expect(ChartDrawing.svg(chart).components(separatedBy: "<path class=\"bar").count == 5)
        #expect(!ChartDrawing.isWide(chart))
        chart.groups = (0..<13).map { "\($0)" }
        #expect(ChartDrawing.isWide(chart))
    }
}
