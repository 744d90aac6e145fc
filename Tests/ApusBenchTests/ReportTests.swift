import Foundation
import Testing

@testable import apus_bench

@Suite struct ReportTests {
    private static let hostile = "a \"quoted\" <script>&'\\\n\u{1}é𝄞"

    private func report(_ section: Section, isShort: Bool = false) -> Report {
        Report([section], machine: MachineFacts(), date: "2026-11-21 03:47 UTC", isShort: isShort, seconds: 61.25)
    }

    private var sample: Section {
        var section = Section(key: "sample", title: Self.hostile, method: [Self.hostile])
        section.tables = [
            Table(
                title: Self.hostile,
                key: "t",
                columns: [
                    .init(title: "CPU", key: "cpu", unit: "µs"), .init(title: "n", key: "n", unit: "", digits: 0),
                ],
                rows: [.init(title: Self.hostile, key: "r", values: [Spread([1, 2, 3000.26]), nil])]
            )
        ]
        section.charts = [
            Chart(
                title: Self.hostile,
                x: .init(title: "size", unit: "KB", isLogarithmic: true),
                y: .init(title: "CPU", unit: "µs", isLogarithmic: true),
                series: [
                    .init(name: Self.hostile, points: [.init(x: 0, y: Spread([0])), .init(x: 5, y: Spread([.nan]))])
                ]
            )
        ]
        section.goals = [Goal(title: Self.hostile, key: "g", unit: "%", value: .nan, limit: 1, reason: Self.hostile)]
        section.faults = [Self.hostile]
        return section
    }

    private func parsed(_ report: Report) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(report.json.utf8)) as? [String: Any])
    }

    @Test("JSON is well-formed whatever the texts and numbers are, and gives the texts back")
    func json() throws {
        let root = try parsed(report(sample))
        let suites = try #require(root["suites"] as? [String: Any])
        let section = try #require(suites["sample"] as? [String: Any])
        #expect(section["title"] as? String == Self.hostile)
        #expect(section["faults"] as? [String] == [Self.hostile])
        let goals = try #require(section["goals"] as? [String: [String: Any]])
        #expect(goals["g"]?["value"] is NSNull)
        #expect(goals["g"]?["met"] as? Bool == false)
        #expect(goals["g"]?["outcome"] as? String == "not measured")
        #expect(goals["g"]?["at_most"] as? Double == 1)
        let machine = try #require(root["machine"] as? [String: Any])
        #expect(try #require(machine["cores"] as? Int) >= 1)
    }

    @Test("A table's rows are found by their keys in JSON, with median and ends")
    func jsonTables() throws {
        let suites = try #require(try parsed(report(sample))["suites"] as? [String: [String: Any]])
        let tables = try #require(suites["sample"]?["tables"] as? [String: [String: Any]])
        let rows = try #require(tables["t"]?["rows"] as? [String: [String: Any]])
        let cpu = try #require(rows["r"]?["cpu"] as? [String: Double])
        #expect(cpu == ["median": 2, "lowest": 1, "highest": 3000.26])
        #expect(rows["r"]?["n"] is NSNull)
    }

    @Test("The page holds texts as texts, and refers to nothing outside of it")
    func html() {
        let page = report(sample).html
        #expect(!page.contains("<script"))
        #expect(page.contains("&lt;script&gt;&amp;&#39;"))
        #expect(!page.contains("\u{1}"))
        for reference in ["http:", "https:", "src=", "url(", "@import", "<link"] { #expect(!page.contains(reference)) }
        #expect(page.contains("2.0<small>1.0 … 3,000.3</small>"))
        #expect(page.contains("? not measured"))
    }

    @Test("Text has medians with their ends, a dash where nothing was measured, and the reason of a missed goal")
    func text() {
        var section = sample
        section.goals = [
            Goal(title: "chunk", key: "g", unit: "µs", value: 9, limit: 6, reason: "It is parsed."),
            Goal(title: "other", key: "h", unit: "µs", value: 5, limit: 6, reason: "It is parsed."),
            Goal(title: "rival", key: "i", unit: "", value: .nan, limit: 1, reason: "It is not installed."),
        ]
        let text = report(section).text
        #expect(text.contains("2.0 [1.0 … 3,000.3]"))
        #expect(text.contains("   –\n"))
        #expect(text.contains("MISSED  chunk: 9.0 µs (at most 6.0 µs), 50 % over\n           It is parsed.\n"))
        #expect(text.contains("met     other: 5.0 µs (at most 6.0 µs)\n"))
        #expect(text.contains("UNKNOWN rival: not measured (at most 1.0)\n           It is not installed.\n"))
        #expect(text.components(separatedBy: "It is parsed.").count == 2)
        #expect(text.contains("FAULT"))
    }

    @Test("A report of several suites ends with all their goals, and says how many are met, missed and not measured")
    func goals() {
        func goal(_ title: String, _ value: Double) -> Goal {
            Goal(title: title, key: title, unit: "µs", value: value, limit: 6)
        }
        var report = report(sample)
        let sections = [
            Section(key: "one", title: "", goals: [goal("a", 5), goal("b", 9)]),
            Section(key: "other", title: "", goals: [goal("c", .nan)]),
        ]
        report = Report(sections, machine: report.machine, date: report.date, isShort: false, seconds: 1)
        let end = report.text.components(separatedBy: "== goals: ").last ?? ""
        #expect(
            end == """
                1 of 3 goals met, 1 missed, 1 not measured

                   one    met     a: 5.0 µs (at most 6.0 µs)
                   one    MISSED  b: 9.0 µs (at most 6.0 µs), 50 % over
                   other  UNKNOWN c: not measured (at most 6.0 µs)

                """
        )
        #expect(report.html.contains("<h2>1 of 3 goals met, 1 missed, 1 not measured"))
    }

    @Test("A short run says that its figures mean nothing, in every form")
    func warnings() throws {
        let short = report(sample, isShort: true)
        #expect(short.text.contains("its figures mean nothing"))
        #expect(short.html.contains("its figures mean nothing"))
        #expect(try parsed(short)["short"] as? Bool == true)
        #expect(try parsed(report(sample))["short"] as? Bool == false)
    }

    @Test("The machine's facts are known here")
    func machine() {
        let facts = MachineFacts()
        #expect(facts.cores >= 1)
        #expect(facts.memoryGiB > 0.1)
        #expect(!facts.kernel.isEmpty)
        #expect(facts.loadAverage.split(separator: " ").count == 3)
    }
}
