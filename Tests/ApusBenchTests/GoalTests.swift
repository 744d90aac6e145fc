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

    @Test("Reasons from a file are added to their goals; others are told, and lines that are none are refused")
    func reasons() throws {
        var sections = [Section(key: "memory", title: "", goals: [goal(9, limit: 6), goal(5, limit: 6)])]
        sections[0].goals[0].reason = "It is large."
        let reasons = try GoalReasons("# why\n\nmemory.k: Freed too late.\nmemory.other: x: y\n", name: "f")
        #expect(reasons.attach(to: &sections) == ["memory.other"])
        #expect(sections[0].goals.map(\.reason) == ["It is large. Freed too late.", "Freed too late."])
        #expect(throws: BenchError.self) { try GoalReasons("memory: x", name: "f") }
    }

    @Test("What is left of a report is told by what its suites usually take, and by how slow the machine has been")
    func pace() {
        let suites = [10.0, 20, 70].map { seconds in
            ReportSuite(key: "s", summary: "", seconds: (seconds, 1)) { _ in Section(key: "s", title: "") }
        }
        var run = BenchRun()
        var pace = ReportPace(suites, run)
        #expect(pace.note(0) == " (1 of 3; about 2 minutes left)")
        pace.ended(0, after: 20)
        #expect(pace.rest(from: 1) == 180)
        run.askedRounds = 1
        #expect(ReportPace(suites, run).note(2) == " (3 of 3; about 14 seconds left)")
    }
}
