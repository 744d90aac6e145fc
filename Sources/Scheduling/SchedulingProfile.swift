package import Bytes
package import Pool

/// Filters, weighted scorers and a picker under one name. One object, so that a result takes one reference of it.
package final class SchedulingProfile: Sendable {
    package struct WeightedScorer: Sendable {
        /// The name of the plugin instance, as decision records show it.
        package let name: String
        package let type: String
        package let weight: Float
        package let scorer: any Scorer

        /// - Parameter type: of the plugin; nil when it is its name.
        package init(name: String, type: String? = nil, weight: Float, scorer: any Scorer) {
            self.name = name
            self.type = type ?? name
            self.weight = weight
            self.scorer = scorer
        }
    }

    package struct NamedFilter: Sendable {
        package let name: String
        package let type: String
        package let filter: any Filter

        /// - Parameter type: of the plugin; nil when it is its name.
        package init(name: String, type: String? = nil, filter: any Filter) {
            self.name = name
            self.type = type ?? name
            self.filter = filter
        }
    }

    package let name: String
    package let filters: [NamedFilter]
    package let scorers: [WeightedScorer]
    package let picker: any Picker
    package let pickerName: String
    package let pickerType: String

    package init(
        name: String,
        filters: [NamedFilter] = [],
        scorers: [WeightedScorer],
        picker: any Picker = MaxScorePicker(),
        pickerName: String = "max-score-picker",
        pickerType: String = "max-score-picker"
    ) {
        self.name = name
        self.filters = filters
        self.scorers = scorers
        self.picker = picker
        self.pickerName = pickerName
        self.pickerType = pickerType
    }

    /// Decides among the candidates that answer; among the others only when the filters leave none of these. Nil when they leave nobody at
    /// all.
    package func run(
        _ request: SchedulingRequest,
        _ offered: Candidates,
        using generator: inout SeededGenerator
    ) -> ProfileResult? {
        let answering = offered.preferred(atLeast: .stale)
        if let result = decide(request, answering, using: &generator) { return result }
        return answering.count < offered.count ? decide(request, offered, using: &generator) : nil
    }

    /// Filters in order, then `total = Σ clamp(score) × weight` per candidate, then the picker. Nil when the filters leave nobody. Of whom they
    /// leave only those take part of whom most is known, so that a role whose endpoints tell nothing is served all the same.
    private func decide(
        _ request: SchedulingRequest,
        _ offered: Candidates,
        using generator: inout SeededGenerator
    ) -> ProfileResult? {
        var candidates = offered
        var stopwatch = Stopwatch(request.clock)
        for filter in filters where !candidates.isEmpty {
            candidates = filter.filter.filter(request, candidates, using: &generator)
            stopwatch.lap()
        }
        candidates = candidates.preferred
        let count = candidates.count
        guard count > 0 else { return nil }
        var scores: [Float] = []
        scores.reserveCapacity(count * scorers.count)
        var totals = [Float](repeating: 0, count: count)
        var row = [Float](repeating: 0, count: count)
        for weighted in scorers {
            for position in 0..<count { row[position] = 0 }
            var span = row.mutableSpan
            weighted.scorer.score(request, candidates, into: &span)
            for position in 0..<count {
                let score = Self.clamped(row[position])
                row[position] = score
                totals[position] += score * weighted.weight
            }
            scores.append(contentsOf: row)
            stopwatch.lap()
        }
        let picked = picker.pick(totals, using: &generator)
        stopwatch.lap()
        guard !picked.isEmpty else { return nil }
        return ProfileResult(
            profile: self,
            candidates: candidates,
            picked: picked,
            totals: totals,
            scores: scores,
            pluginTimes: stopwatch.laps
        )
    }

    /// To 0...1; NaN is 0.
    @inline(__always)
    private static func clamped(_ score: Float) -> Float {
        score > 0 ? (score < 1 ? score : 1) : 0
    }
}

/// What one profile decided, with all that a decision record shows of it.
package struct ProfileResult: Sendable {
    package let profile: SchedulingProfile
    /// Whom the filters left; the positions below are theirs.
    package let candidates: Candidates
    /// Positions, the best first; never empty.
    package let picked: [Int]
    /// The weighted sum by position.
    package let totals: [Float]
    /// Clamped, unweighted scores: those of the first scorer by position, then those of the second…
    package let scores: [Float]
    /// Nanoseconds of each plugin: the profile's filters in order, its scorers, its picker. Empty unless the request has a clock.
    package let pluginTimes: [UInt64]

    init(
        profile: SchedulingProfile,
        candidates: Candidates,
        picked: [Int],
        totals: [Float],
        scores: [Float],
        pluginTimes: [UInt64]
    ) {
        self.profile = profile
        self.candidates = candidates
        self.picked = picked
        self.totals = totals
        self.scores = scores
        self.pluginTimes = pluginTimes
    }

    /// The best endpoint.
    package var endpoint: Endpoint { candidates.endpoint(picked[0]) }

    /// The picked endpoints, the best first.
    package var endpoints: [Endpoint] { picked.map { candidates.endpoint($0) } }

    /// The best endpoint's index in the snapshot.
    package var index: Int { candidates.list[picked[0]].index }

    /// What scorer `index` of the profile gave the candidate at `position`.
    package func score(_ index: Int, at position: Int) -> Float {
        scores[index * candidates.count + position]
    }
}
