private import Bytes

/// The published grid: 150 groups of prompts with a prefix of 6,000 tokens each, five questions of 1,200 tokens a group that come again and
/// again, and a rate that rises from 3 to 60 requests per second.
///
/// Answers have 300 tokens: what the published throughput amounts to at these rates. All prompts together are 1.8 million tokens, three quarters
/// of what eight servers hold.
package struct PrefixGrid: Workload {
    package static let rates: [Double] = [3, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]

    package let key = "grid"
    package let title = "Prefix grid"
    package let summary =
        "8 servers, 150 groups × 6,000-token prefixes × 5 questions of 1,200 tokens, 300-token answers; 3 → 60 requests per second"
    package let servers = [ServerDescription](repeating: ServerDescription(), count: 8)
    package let stages: [Stage]
    package let warmUp = 0.0

    private let rates: [Double]
    private let stageSeconds: Double
    private var generator: SeededGenerator
    private var arrivals: PoissonArrivals
    private var number = 0
    private var prompts: [[UInt64]] = []

    package init(seed: UInt64, stageSeconds: Double = 40, rates: [Double] = PrefixGrid.rates) {
        self.stageSeconds = stageSeconds
        self.rates = rates
        generator = SeededGenerator(seed: seed &* 31 &+ 1)
        arrivals = PoissonArrivals(seed: seed &* 31 &+ 2)
        stages = rates.map { Stage(title: "\(Int($0)) requests/s", x: $0) }
        for group in 0..<150 {
            for question in 0..<5 {
                var chain = BlockChain()
                chain.append(seed &* 1_000 &+ UInt64(group), blocks: 375)
                chain.append(seed &* 77_777 &+ UInt64(group * 5 + question), blocks: 75)
                prompts.append(chain.blocks)
            }
        }
    }

    package mutating func next() -> SimulatedRequest? {
        let stage = Int(arrivals.time / stageSeconds)
        guard stage < rates.count else { return nil }
        let time = arrivals.next(rate: rates[stage])
        guard time < stageSeconds * Double(rates.count) else { return nil }
        number += 1
        let prompt = prompts[Int.random(in: 0..<prompts.count, using: &generator)]
        return SimulatedRequest(
            number: number,
            arrival: time,
            blocks: prompt,
            promptTokens: 7_200,
            outputTokens: 300,
            stage: Int(time / stageSeconds)
        )
    }
}
