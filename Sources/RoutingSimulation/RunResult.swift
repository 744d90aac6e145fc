/// What one run of a workload under one policy gave.
package struct RunResult: Sendable {
    package var submitted = 0
    package var completed = 0
    /// Requests that got no answer, or only a part of one.
    package var failed = 0
    /// How often a request was sent elsewhere because its server was gone.
    package var retried = 0
    /// When the last request ended, in seconds.
    package var lastEnd = 0.0
    /// Seconds from a request's arrival to the first token of its answer; sorted. Requests of the warm-up are not among them.
    package private(set) var timesToFirstToken: [Double] = []
    /// The same by the workload's stages.
    package private(set) var byStage: [[Double]]
    /// Seconds between the tokens of answers.
    package private(set) var gaps = DurationHistogram()
    package private(set) var promptTokens = 0
    package private(set) var cachedTokens = 0
    package private(set) var generatedTokens = 0
    package private(set) var preemptions = 0
    /// Seconds in which each server computed.
    package private(set) var busy: [Double] = []

    init(stages: Int) {
        byStage = Array(repeating: [], count: stages)
    }

    /// The share of the prompts' tokens that was found in caches.
    package var hitRate: Double { promptTokens > 0 ? Double(cachedTokens) / Double(promptTokens) : 0 }

    /// Tokens of answers per second.
    package var throughput: Double { lastEnd > 0 ? Double(generatedTokens) / lastEnd : 0 }

    /// The time that the busiest server computed, over the mean of all: 1 is even.
    package var imbalance: Double {
        let mean = busy.reduce(0, +) / Double(max(1, busy.count))
        return mean > 0 ? (busy.max() ?? 0) / mean : 1
    }

    /// The time to the first token below which `share` of the requests stay.
    package func timeToFirstToken(_ share: Double, stage: Int? = nil) -> Double {
        let times = stage.map { byStage[$0] } ?? timesToFirstToken
        return times.isEmpty ? 0 : times[min(times.count - 1, Int(share * Double(times.count)))]
    }

    mutating func add(timeToFirstToken time: Double, stage: Int) {
        timesToFirstToken.append(time)
        if byStage.indices.contains(stage) { byStage[stage].append(time) }
    }

    mutating func add(_ engine: ServingEngine) {
        gaps.add(engine.gaps)
        promptTokens += engine.promptTokens
        cachedTokens += engine.cachedTokens
        generatedTokens += engine.generatedTokens
        preemptions += engine.preemptions
        busy.append(engine.busy)
    }

    mutating func sort() {
        timesToFirstToken.sort()
        for stage in byStage.indices { byStage[stage].sort() }
    }
}
