import Testing

@testable import apus_bench

@Suite struct GoalTests {
    private func goal(_ value: Double, limit: Double, isAtMost: Bool = true) -> Goal {
        Goal(title: "t", key: "k", unit: "µs", value: value, limit: limit, isAtMost: isAtMost)
    }

    @Test("A value on the limit meets the goal, from either side")
    func limits() {
        #expect(goal(6, limit: 6).isMet)
        #expect(!goal(6.1, limit: 6).isMet)
        #expect(goal(85, limit: 85, isAtMost: false).isMet)
        #expect(!goal(84.9, limit: 85, isAtMost: false).isMet)
    }

    @Test("A miss is told as a share of the limit")
    func misses() {
        #expect(goal(9, limit: 6).verdict == "9.0 µs (at most 6.0 µs), 50 % over")
        #expect(goal(6.3, limit: 6).verdict == "6.3 µs (at most 6.0 µs), 5.0 % over")
        #expect(goal(42.5, limit: 85, isAtMost: false).verdict == "42.5 µs (at least 85.0 µs), 50 % under")
        #expect(goal(5, limit: 6).verdict == "5.0 µs (at most 6.0 µs)")
        #expect(goal(5, limit: 0).miss == nil)
    }

    @Test("What was not measured is not met")
    func unmeasured() {
        #expect(!goal(.nan, limit: 6).isMet)
        #expect(!goal(.nan, limit: 6, isAtMost: false).isMet)
        #expect(goal(.nan, limit: 6).verdict == "not measured (at most 6.0 µs)")
    }

    @Test("A short run repeats nothing unless it is asked to")
    func rounds() {
        var run = BenchRun()
        #expect(run.rounds() == 5)
        #expect(run.rounds(7) == 7)
        run.scale = .short
        #expect(run.rounds() == 1)
        run.askedRounds = 3
        #expect(run.rounds() == 3)
    }

    @Test("A suite that throws is a section with a fault, not the end of the report")
    func faults() {
        let suite = ReportSuite(key: "broken", summary: "never works") { _ in throw BenchError("no server") }
        let section = suite.sectionOrFault(BenchRun())
        #expect(section.key == "broken")
        #expect(section.faults == ["no server"])
    }

    @Test("Suites are chosen by name, in the report's order; unknown names are refused")
    func selection() throws {
        #expect(try ReportCommand.select(["decisions", "floor"]).map(\.key) == ["floor", "decisions"])
        #expect(try ReportCommand.select(nil).count == ReportSuite.all.count)
        #expect(throws: BenchError.self) { try ReportCommand.select(["flor"]) }
        #expect(Set(ReportSuite.all.map(\.key)).count == ReportSuite.all.count)
    }
}
