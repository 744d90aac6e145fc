import Bytes
import Pool
import Scheduling

/// Whole decisions: candidates, prefix match, scores, pick, reservation, and the prompt remembered.
enum SchedulingBench {
    private static let blocks = 256

    static func measure(_ suite: inout Suite, endpoints: Int, goal: Double) throws {
        for set in ScorerSet.all { try measure(&suite, endpoints: endpoints, goal: goal, set) }
    }

    private static func measure(_ suite: inout Suite, endpoints: Int, goal: Double, _ set: ScorerSet) throws {
        let pool = BenchPool.make(endpoints)
        let cache = ApproximatePrefixCache()
        let scheduler = Scheduler(profiles: [set.profile], prefixCache: cache)
        let prompt = BenchPool.prompt(blocks, seed: 1)
        for index in stride(from: 0, to: endpoints, by: 3) {
            let held = Array(prompt.prefix(8 + index % (blocks - 8)))
            cache.record(PromptBlocks(hashes: held, blockTokens: 16), pool.snapshot, index: index)
        }
        var request = SchedulingRequest(
            model: "a1",
            targetModel: "a1",
            prefix: PromptBlocks(hashes: prompt, blockTokens: 16),
            estimatedTokens: blocks * 16
        )
        request.now = .now()
        var generator = SeededGenerator(seed: 3)
        let repetitions = suite.repetitions(200_000 / endpoints)
        func decide() throws {
            let candidates = pool.candidates(at: request.now)
            let result = try scheduler.schedule(request, candidates, using: &generator)
            pool.reserve(result.endpoint, tokens: 100).release()
            scheduler.record(request, result)
        }
        for _ in 0..<repetitions { try decide() }
        let line = Suite.Line(
            title: "decision, \(endpoints.grouped) endpoints, \(set.title), \(blocks) blocks",
            key: "decision_\(endpoints)\(set.key)_us",
            unit: "µs",
            goal: goal
        )
        try suite.measure(line) {
            try cpuMicroseconds(per: repetitions) { for _ in 0..<repetitions { try decide() } }
        }
    }
}

/// Scorers that decide together.
struct ScorerSet {
    let title: String
    /// What is added to the keys of figures.
    let key: String
    private let scorers: [(name: String, weight: Float, scorer: any Scorer)]

    static let all = [
        ScorerSet(
            title: "6 scorers",
            key: "",
            scorers: reference.scorers + [
                ("running-requests-size-scorer", 1, RunningRequestsSizeScorer()),
                ("lora-affinity-scorer", 1, LoRAAffinityScorer()), ("token-load-scorer", 1, TokenLoadScorer()),
            ]
        ),
        ScorerSet(title: "Apus's default", key: "_default", scorers: [("prefill-cost-scorer", 1, PrefillCostScorer())]),
        reference,
    ]

    static let reference = ScorerSet(
        title: "the reference's default",
        key: "_reference",
        scorers: [
            ("queue-scorer", 2, QueueScorer()), ("kv-cache-utilization-scorer", 2, KVCacheUtilizationScorer()),
            ("prefix-cache-scorer", 3, PrefixCacheScorer()),
        ]
    )

    var profile: SchedulingProfile {
        SchedulingProfile(
            name: "default",
            scorers: scorers.map { .init(name: $0.name, weight: $0.weight, scorer: $0.scorer) }
        )
    }
}
