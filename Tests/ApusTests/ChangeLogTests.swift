import TestSupport
import Testing

@testable import apus

@Suite("Telling of changes", .timeLimit(.minutes(1))) struct ChangeLogTests {
    private struct Line: Equatable {
        let count: Int
        let changes: Int
    }

    @Test("The first change is told at once, those that follow together, and the last one is never lost")
    func together() async {
        let lines = EventLog<Line>()
        let log = ChangeLog { lines.append(Line(count: $0, changes: $1)) }
        log.note(3)
        #expect(lines.entries == [Line(count: 3, changes: 1)])
        for round in 0..<50 { log.note(round % 2) }
        await lines.wait { $0.reduce(0) { $0 + $1.changes } == 51 }
        #expect(lines.entries.last?.count == 1)
        // Each second had one line; this loop did not last ten.
        #expect(lines.entries.count < 10)
    }
}
