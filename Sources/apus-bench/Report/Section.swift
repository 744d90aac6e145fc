/// What one suite found, in a form that every report can show: text, JSON and the HTML page are made from this alone.
struct Section {
    /// The suite's name on the command line, and its key in JSON.
    let key: String
    let title: String
    /// What was run and how, a sentence each: sizes, counts, who takes turns, what the load generator is.
    var method: [String] = []
    var tables: [Table] = []
    var charts: [Chart] = []
    var goals: [Goal] = []
    /// What went wrong in the run itself: failed requests, a server that ended. A report with faults exits with 1.
    var faults: [String] = []
}

/// Rows of measurements under common columns.
struct Table {
    struct Column {
        let title: String
        /// A short name for programs.
        let key: String
        let unit: String
        /// Digits after the point.
        var digits = 1
    }

    struct Row {
        let title: String
        let key: String
        /// One a column; nil where the row has no such value.
        let values: [Spread?]
    }

    let title: String
    let key: String
    var columns: [Column]
    var rows: [Row] = []
}

/// Curves over a number, or bars beside each other.
struct Chart {
    struct Point {
        /// The place on the axis; of bars, the group's index.
        let x: Double
        let y: Spread
    }

    struct Series {
        let name: String
        let points: [Point]
    }

    struct Axis {
        let title: String
        let unit: String
        var isLogarithmic = false
    }

    let title: String
    let x: Axis
    let y: Axis
    /// Names of the groups of bars; nil for curves.
    var groups: [String]?
    var series: [Series] = []
}

/// A figure that is meant to stay on one side of a limit. Missing it is said, with the reason, and fails nothing.
struct Goal {
    enum Outcome: String {
        case met
        case missed
        /// Neither is known, and it counts as not met.
        case unmeasured = "not measured"
    }

    let title: String
    let key: String
    let unit: String
    /// Not a number where nothing was measured.
    let value: Double
    let limit: Double
    var isAtMost = true
    var digits = 1
    /// Why it is missed or was not measured, where that is known; said only then.
    var reason: String?

    var outcome: Outcome {
        guard value.isFinite else { return .unmeasured }
        return (isAtMost ? value <= limit : value >= limit) ? .met : .missed
    }

    var isMet: Bool { outcome == .met }

    /// By which share of the limit the value lies beyond it; nil where it does not, or where no share can be told.
    var miss: Double? {
        guard outcome == .missed, limit != 0 else { return nil }
        return (isAtMost ? value - limit : limit - value) / limit.magnitude
    }
}

extension [Goal] {
    /// How many are met, missed and not measured; what there is none of is left out, but for those that are met.
    var summary: String {
        func count(_ outcome: Goal.Outcome) -> Int { self.count { $0.outcome == outcome } }
        var text = "\(count(.met)) of \(self.count.of("goal")) met"
        for outcome in [Goal.Outcome.missed, .unmeasured] where count(outcome) > 0 {
            text += ", \(count(outcome)) \(outcome.rawValue)"
        }
        return text
    }
}

/// How long a suite may take: a full report's numbers, or a few requests that show that the suite works.
enum Scale: Sendable {
    /// Several rounds, for figures that are quoted.
    case full
    /// For CI: every step once, in seconds; its figures mean nothing.
    case short
}
