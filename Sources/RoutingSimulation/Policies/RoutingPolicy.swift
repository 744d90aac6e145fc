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
        /// - Parameter reserves: whether what was sent since the last page counts.
        case scheduler(@Sendable (PrefixIndex) -> SchedulingSetup, reserves: Bool)
    }

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

    /// What Apus does without a configuration.
    package static let apus = RoutingPolicy(
        "apus",
        "Apus",
        .scheduler({ SchedulingSetup.builtIn(prefixIndex: $0) }, reserves: true)
    )

    /// The reference's default: these scorers and weights over what the pages say, and nothing else.
    package static let reference = RoutingPolicy(
        "reference",
        "reference",
        .scheduler(setup(referenceConfiguration), reserves: false)
    )

    /// The reference's default with Apus's accounting of what is in flight.
    package static let referenceScorers = RoutingPolicy(
        "reference-scorers",
        "reference's scorers in Apus",
        .scheduler(setup(referenceConfiguration), reserves: true)
    )

    /// Queue and memory alone, with Apus's accounting.
    package static let loadOnly = RoutingPolicy(
        "load-only",
        "load only",
        .scheduler(
            setup(
                """
                apiVersion: llm-d.ai/v1alpha1
                kind: EndpointPickerConfig
                plugins: [{type: queue-scorer}, {type: kv-cache-utilization-scorer}]
                """
            ),
            reserves: true
        )
    )

    /// Any configuration, as a file has it. One that is wrong picks at random.
    package static func configured(_ key: String, _ text: String) -> RoutingPolicy {
        RoutingPolicy(key, key, .scheduler(setup(text), reserves: true))
    }

    /// Those that reports compare.
    package static let all: [RoutingPolicy] = [
        .random, .roundRobin, .leastRequest, .powerOfTwo, .loadOnly, .reference, .apus, .oracle,
    ]

    private static let referenceConfiguration = """
        apiVersion: llm-d.ai/v1alpha1
        kind: EndpointPickerConfig
        plugins: [{type: queue-scorer}, {type: kv-cache-utilization-scorer}, {type: prefix-cache-scorer}]
        schedulingProfiles:
        - name: default
          plugins:
          - {pluginRef: queue-scorer, weight: 2}
          - {pluginRef: kv-cache-utilization-scorer, weight: 2}
          - {pluginRef: prefix-cache-scorer, weight: 3}
        """

    private static func setup(_ text: String) -> @Sendable (PrefixIndex) -> SchedulingSetup {
        { index in
            let read = ConfigurationLoader.setup(text: Array(text.utf8), file: "policy", prefixIndex: index)
            return read.setup ?? SchedulingSetup.builtIn(prefixIndex: index)
        }
    }
}
