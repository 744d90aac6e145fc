package import Bytes

/// How long a simulated engine takes. The names and meanings are those of llm-d-inference-sim.
package struct LatencyModel: Sendable, Equatable {
    /// How the time to the first token is computed.
    package enum Calculator: String, Sendable {
        /// `timeToFirstToken`, whatever the prompt's length.
        case constant
        /// `prefillOverhead` + uncached tokens · `prefillTimePerToken`.
        case perToken = "per-token"
        /// `constant` when `timeToFirstToken` or its deviation is set, else `perToken`.
        case automatic = ""
    }

    package var calculator = Calculator.automatic
    package var timeToFirstToken = Duration.zero
    package var timeToFirstTokenDeviation = Duration.zero
    package var prefillOverhead = Duration.zero
    package var prefillTimePerToken = Duration.zero
    /// Of the whole prefill time that `perToken` computes.
    package var prefillTimeDeviation = Duration.zero
    package var interTokenLatency = Duration.zero
    package var interTokenLatencyDeviation = Duration.zero
    /// Of every transfer of KV from another engine.
    package var transferLatency = Duration.zero
    /// For each token whose KV is transferred.
    package var transferTimePerToken = Duration.zero
    /// All times are multiplied by a factor that grows linearly from 1, with one request running, to this, with a full batch.
    package var timeFactorUnderLoad = 1.0

    package init() {}

    /// What `running` requests in a batch of at most `capacity` multiply all times by.
    package func loadFactor(running: Int, capacity: Int) -> Double {
        guard capacity > 1, timeFactorUnderLoad > 1 else { return 1 }
        return 1 + (timeFactorUnderLoad - 1) * Double(max(running, 1) - 1) / Double(capacity - 1)
    }

    func prefill(uncachedTokens: Int, loadFactor: Double, random: inout SeededGenerator) -> Duration {
        let isConstant =
            switch calculator {
            case .constant: true
            case .perToken: false
            case .automatic: timeToFirstToken > .zero || timeToFirstTokenDeviation > .zero
            }
        let mean = isConstant ? timeToFirstToken : prefillOverhead + prefillTimePerToken * uncachedTokens
        let deviation = isConstant ? timeToFirstTokenDeviation : prefillTimeDeviation
        return jittered(mean, deviation, &random) * loadFactor
    }

    func transfer(tokens: Int) -> Duration {
        tokens > 0 ? transferLatency + transferTimePerToken * tokens : .zero
    }

    func betweenTokens(loadFactor: Double, random: inout SeededGenerator) -> Duration {
        jittered(interTokenLatency, interTokenLatencyDeviation, &random) * loadFactor
    }

    /// A normal variable that stays within 70 % of its mean.
    private func jittered(_ mean: Duration, _ deviation: Duration, _ random: inout SeededGenerator) -> Duration {
        guard deviation > .zero else { return mean }
        let value = mean.seconds + deviation.seconds * random.standardNormal()
        return .nanoseconds(Int64(min(max(value, 0.3 * mean.seconds), 1.7 * mean.seconds) * 1e9))
    }
}

extension SeededGenerator {
    /// A normal variable of mean 0 and deviation 1, near enough: twelve uniform ones added up (Irwin–Hall), which needs no logarithm.
    package mutating func standardNormal() -> Double {
        var sum = -6.0
        for _ in 0..<12 { sum += Double.random(in: 0..<1, using: &self) }
        return sum
    }
}
