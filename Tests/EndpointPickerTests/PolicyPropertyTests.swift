import Bytes
import Configuration
import Pool
import Scheduling
import Testing

@testable import EndpointPicker

/// What holds for every filter and scorer there is, whatever the endpoints and the request.
@Suite("Properties of all filters and scorers")
struct PolicyPropertyTests {
    /// Parameters of the types that cannot be without.
    private static let parameters = [
        "by-label": "{label: role, validValues: [a]}", "by-label-selector": "{matchLabels: {role: a}}",
        "label-selector-filter": "{matchLabels: {role: a}}",
        "endpoint-attribute-filter":
            "{attribute: WaitingQueueSize, algorithm: {threshold: {operator: LessThan, value: 4}}}",
        "endpoint-attribute-scorer":
            "{attributeKey: WaitingQueueSize, algorithm: {type: linear_lower_is_better}}",
        "header-label-affinity-scorer": "{headerName: x-role, labelKey: role}",
        "utilization-filter": "{conditions: [{metric: waiting-queue, maxValue: 4}]}",
        "context-length-aware": "{enableFiltering: true}",
        "prefix-cache-scorer": "{matchLengthWeight: 0.5}",
    ]

    /// The types of which an instance filters or scores.
    static let types: [String] = PluginRegistry.availableTypes.filter { type in
        guard let setup = setup(type) else { return false }
        return setup.contains { !$0.filters.isEmpty || !$0.scorers.isEmpty }
    }

    /// The profile that has only this plugin.
    private static func setup(_ type: String) -> [SchedulingProfile]? {
        let text = """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins: [{type: \(type), parameters: \(parameters[type] ?? "{}")}]
            schedulingProfiles: [{name: p, plugins: [{pluginRef: \(type)}]}]
            """
        return ConfigurationLoader.setup(text: Array(text.utf8), file: "f").setup?.scheduler.profiles
    }

    @Test("There are as many as the tables say")
    func complete() {
        // 12 filters, the two detectors, 15 scorers.
        #expect(Self.types.count == 29, "\(Self.types)")
    }

    @Test(
        "Scores lie in 0...1 and filters keep what they were given; the order of the endpoints plays no part",
        arguments: types
    )
    func holds(type: String) throws {
        let profile = try #require(Self.setup(type)?.first)
        for seed in 0..<30 {
            var generator = SeededGenerator(seed: UInt64(seed))
            let pool = Self.pool(&generator)
            let request = Self.request(pool, &generator)
            let indexes = Array(pool.snapshot.endpoints.indices)
            let ordered = Candidates(snapshot: pool.snapshot, indexes: indexes)
            let shuffled = Candidates(snapshot: pool.snapshot, indexes: indexes.shuffled(using: &generator))
            for scorer in profile.scorers {
                let one = Self.scores(scorer.scorer, request, ordered)
                let two = Self.scores(scorer.scorer, request, shuffled)
                #expect(one.values.allSatisfy { $0 >= 0 && $0 <= 1 }, "\(type), seed \(seed): \(one)")
                #expect(one == two, "\(type), seed \(seed)")
            }
            for filter in profile.filters {
                let one = Self.kept(filter.filter, request, ordered)
                let two = Self.kept(filter.filter, request, shuffled)
                #expect(one.isSubset(of: Set(indexes)), "\(type), seed \(seed)")
                #expect(one == two, "\(type), seed \(seed)")
            }
        }
    }

    private static func scores(_ scorer: any Scorer, _ request: SchedulingRequest, _ candidates: Candidates) -> [Int:
        Float]
    {
        var scores = [Float](repeating: 0, count: candidates.count)
        var span = scores.mutableSpan
        scorer.score(request, candidates, into: &span)
        return Dictionary(uniqueKeysWithValues: zip(candidates.list.map(\.index), scores))
    }

    private static func kept(_ filter: any Filter, _ request: SchedulingRequest, _ candidates: Candidates) -> Set<Int> {
        var generator = SeededGenerator(seed: 1)
        return Set(filter.filter(request, candidates, using: &generator).list.map(\.index))
    }

    /// Endpoints with any load, models and labels, some of which were never scraped.
    private static func pool(_ generator: inout SeededGenerator) -> Pool {
        let pool = Pool(stalenessThreshold: .seconds(3600))
        let count = Int.random(in: 1...12, using: &generator)
        pool.replaceEndpoints(
            (0..<count).map { number in
                var labels: [String: String] = [:]
                if Bool.random(using: &generator) { labels["role"] = Bool.random(using: &generator) ? "a" : "b" }
                labels["llm-d.ai/role"] =
                    ["prefill", "decode", "encode", "both", nil].randomElement(using: &generator) ?? nil
                if Bool.random(using: &generator) { labels["llm-d.ai/context-length-range"] = "100-\(2_000 * number)" }
                labels["kubernetes.io/hostname"] = "h\(number % 3)"
                return EndpointDescription(
                    name: "e\(number)",
                    namespace: "n",
                    address: "10.0.0.\(number)",
                    port: 8000,
                    labels: labels
                )
            }
        )
        for endpoint in pool.snapshot.endpoints where Int.random(in: 0..<5, using: &generator) > 0 {
            var update = MetricsUpdate()
            update.waitingQueueSize = Int.random(in: 0...9, using: &generator)
            update.runningRequests = Int.random(in: 0...300, using: &generator)
            update.kvCacheUsage = Double.random(in: 0...1, using: &generator)
            update.adapters = .init(
                active: Bool.random(using: &generator) ? ["m"] : [],
                waiting: Bool.random(using: &generator) ? ["m"] : ["o"],
                maximum: Int.random(in: 0...3, using: &generator)
            )
            pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: .now()), update)
        }
        pool.publish()
        return pool
    }

    private static func request(_ pool: Pool, _ generator: inout SeededGenerator) -> SchedulingRequest {
        let target = pool.snapshot.endpoints.randomElement(using: &generator)
        var request = SchedulingRequest(
            model: "m",
            targetModel: "m",
            estimatedTokens: Int.random(in: 0...10_000, using: &generator),
            header: { name in
                switch name {
                case "x-role": "a"
                case "x-session-id": "s"
                case "test-epp-endpoint-selection": target?.hostPort
                default: nil
                }
            }
        )
        request.peer = target
        return request
    }
}
