internal import Configuration
internal import EndpointPicker
internal import Scheduling

/// How requests find their servers.
package struct RoutingPolicy: Sendable {
    enum Kind: Sendable {
        case random
        case roundRobin
        /// The fewest requests in flight; of two chosen at random, or of all.
        case leastRequest(ofTwo: Bool)
        /// Knows every cache and queue as they are.
        case oracle
        /// Apus's scheduler.
        /// - Parameters:
        ///   - disaggregated: of a pool whose servers have roles.
        ///   - reserves: whether what was sent since the last page counts.
        case scheduler(Setup, disaggregated: Setup, reserves: Bool)
    }

    typealias Setup = @Sendable (PrefixIndex) -> SchedulingSetup

    /// The name on the command line and in JSON.
    package let key: String
    package let title: String
    let kind: Kind

    init(_ key: String, _ title: String, _ kind: Kind) {
        self.key = key
        self.title = title
        self.kind = kind
    }

    package static let random = RoutingPolicy("random", "random", .random)
    package static let roundRobin = RoutingPolicy("round-robin", "round robin", .roundRobin)
    package static let leastRequest = RoutingPolicy("least-request", "least request", .leastRequest(ofTwo: false))
    package static let powerOfTwo = RoutingPolicy("power-of-two", "power of two", .leastRequest(ofTwo: true))
    package static let oracle = RoutingPolicy("oracle", "oracle", .oracle)

    /// What Apus does without a configuration; in a pool with roles, with the same scorer for both stages.
    package static let apus = RoutingPolicy(
        "apus",
        "Apus",
        .scheduler(
            { SchedulingSetup.builtIn(prefixIndex: $0) },
            disaggregated: setup(disaggregated(["prefill-cost-scorer": 1])),
            reserves: true
        )
    )

    /// The reference's defaults over what the pages say, and nothing else; in a pool with roles, those of its sample.
    package static let reference = RoutingPolicy(
        "reference",
        "reference",
        .scheduler(
            setup(aggregated(referenceWeights)),
            disaggregated: setup(disaggregated(["prefix-cache-scorer": 2, "queue-scorer": 1])),
            reserves: false
        )
    )

    /// The reference's default scorers with Apus's accounting of what is in flight.
    package static let referenceScorers = RoutingPolicy(
        "reference-scorers",
        "reference's scorers in Apus",
        .scheduler(
            setup(aggregated(referenceWeights)),
            disaggregated: setup(disaggregated(["prefix-cache-scorer": 2, "queue-scorer": 1])),
            reserves: true
        )
    )

    /// Queue and memory alone, with Apus's accounting.
    package static let loadOnly = RoutingPolicy(
        "load-only",
        "load only",
        .scheduler(
            setup(aggregated(["queue-scorer": 1, "kv-cache-utilization-scorer": 1])),
            disaggregated: setup(disaggregated(["queue-scorer": 1, "kv-cache-utilization-scorer": 1])),
            reserves: true
        )
    )

    /// Any configuration, as a file has it; nil when it is wrong.
    package static func configured(_ key: String, _ text: String) -> RoutingPolicy? {
        guard ConfigurationLoader.setup(text: Array(text.utf8), file: key).setup != nil else { return nil }
        return RoutingPolicy(key, key, .scheduler(setup(text), disaggregated: setup(text), reserves: true))
    }

    /// Those that reports compare.
    package static let all: [RoutingPolicy] = [
        .random, .roundRobin, .leastRequest, .powerOfTwo, .loadOnly, .reference, .apus, .oracle,
    ]

    private static let referenceWeights = [
        "queue-scorer": 2, "kv-cache-utilization-scorer": 2, "prefix-cache-scorer": 3,
    ]

    private static func aggregated(_ weights: [String: Int]) -> String {
        let names = weights.keys.sorted()
        return """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins: [\(names.map { "{type: \($0)}" }.joined(separator: ", "))]
            schedulingProfiles:
            - name: default
              plugins: [\(references(weights))]
            """
    }

    private static func disaggregated(_ weights: [String: Int]) -> String {
        let names = ["prefill-filter", "decode-filter", "always-disagg-pd-decider"] + weights.keys.sorted()
        return """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - {type: disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider}}}
            \(names.map { "- {type: \($0)}" }.joined(separator: "\n"))
            schedulingProfiles:
            - name: prefill
              plugins: [{pluginRef: prefill-filter}, \(references(weights))]
            - name: decode
              plugins: [{pluginRef: decode-filter}, \(references(weights))]
            """
    }

    private static func references(_ weights: [String: Int]) -> String {
        weights.sorted { $0.key < $1.key }.map { "{pluginRef: \($0.key), weight: \($0.value)}" }
            .joined(separator: ", ")
    }

    /// A text that is wrong is a fault of this file, which the tests show; the built-in setup stands in for it.
    private static func setup(_ text: String) -> Setup {
        { index in
            let read = ConfigurationLoader.setup(text: Array(text.utf8), file: "policy", prefixIndex: index)
            return read.setup ?? SchedulingSetup.builtIn(prefixIndex: index)
        }
    }

    /// The configurations above, by what they are for: for the tests.
    static var texts: [String] {
        [referenceWeights, ["prefill-cost-scorer": 1], ["queue-scorer": 1, "kv-cache-utilization-scorer": 1]]
            .flatMap { [aggregated($0), disaggregated($0)] }
    }
}
