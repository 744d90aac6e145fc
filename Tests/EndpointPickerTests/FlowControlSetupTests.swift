import Admission
import Configuration
import Scheduling
import Testing

@testable import EndpointPicker

private func setup(_ text: String) -> (setup: SchedulingSetup?, said: [String]) {
    let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
    let result = ConfigurationLoader.setup(text: Array((header + text).utf8), file: "f")
    return (result.setup, result.diagnostics.map(\.description))
}

@Suite("What a configuration makes of admission")
struct FlowControlSetupTests {
    @Test("By default there is the utilization-detector with its thresholds, and no flow control")
    func defaults() throws {
        let admission = try #require(setup("plugins: [{type: queue-scorer}]").setup).admission
        let detector = try #require(admission.detector as? UtilizationDetector)
        #expect(detector.queueDepthThreshold == 5)
        #expect(detector.kvCacheUtilThreshold == 0.8)
        #expect(detector.metricsStalenessThreshold == .milliseconds(200))
        #expect(admission.flowControl == nil)
    }

    @Test("The gate alone turns flow control on with the router's defaults")
    func gate() throws {
        let (found, said) = setup("featureGates: [flowControl]\nplugins: [{type: queue-scorer}]")
        #expect(said.isEmpty)
        let flowControl = try #require(found?.admission.flowControl)
        #expect(flowControl.requestTTL == .seconds(60))
        #expect(flowControl.noEndpointTTL == .seconds(60))
        #expect(flowControl.maxRequests == nil && flowControl.maxBytes == nil)
        #expect(flowControl.defaultBand.maxRequests == 5_000)
        #expect(flowControl.defaultBand.maxBytes == 1_000_000_000)
        #expect(flowControl.defaultBand.ordering is FCFSOrderingPolicy)
        #expect(flowControl.defaultBand.fairness is GlobalStrictFairnessPolicy)
        #expect(flowControl.usageLimit as? StaticUsageLimitPolicy == StaticUsageLimitPolicy(threshold: 1))
    }

    @Test(
        "An empty pool makes wait as long as any other, but where something else is said",
        arguments: [
            ("defaultRequestTTL: 10m", Duration.seconds(600)), ("defaultRequestTTL: 0s", nil),
            ("defaultRequestTTL: 10m, noEndpointRequestTTL: 5s", .seconds(5)), ("noEndpointRequestTTL: 0s", nil),
            ("maxRequests: 5", .seconds(60)),
        ]
    )
    func noEndpointTTL(section: String, expected: Duration?) throws {
        let (found, _) = setup(
            "featureGates: [flowControl]\nflowControl: {\(section)}\nplugins: [{type: queue-scorer}]"
        )
        #expect(try #require(found?.admission.flowControl).noEndpointTTL == expected)
    }

    @Test("Without the gate the detector counts all the same, and only the rest of the section is warned of")
    func detectorWithoutGate() {
        let plugins = "plugins: [{type: queue-scorer}, {type: concurrency-detector}]\n"
        let detector = "saturationDetector: {pluginRef: concurrency-detector}"
        let (found, said) = setup(plugins + "flowControl: {\(detector)}")
        #expect(said.isEmpty, "\(said)")
        #expect(found?.admission.detector is ConcurrencyDetector)
        let more = setup(plugins + "flowControl: {\(detector), maxRequests: 5}").said
        #expect(more.count == 1 && more[0].contains("has no effect without the feature gate"))
    }

    @Test("Everything that is said counts; 0 is the default of a band, and no limit elsewhere")
    func everything() throws {
        let (found, said) = setup(
            """
            featureGates: [flowControl=true]
            plugins:
            - {type: queue-scorer}
            - {type: concurrency-detector, parameters: {maxConcurrency: 8, concurrencyMode: tokens, maxTokenConcurrency: 5000, headroom: 0.5}}
            - {type: round-robin-fairness-policy}
            - {name: due, type: slo-deadline-ordering-policy}
            - {name: limit, type: static-usage-limit-policy, parameters: {threshold: 0.9}}
            - {type: sheddable-eviction-filter}
            - {type: priority-then-time-eviction-order-policy}
            flowControl:
              maxBytes: 0
              maxRequests: 1k
              defaultRequestTTL: 0s
              saturationDetector: {pluginRef: concurrency-detector}
              usageLimitPolicyPluginRef: limit
              defaultPriorityBand: {fairnessPolicyRef: round-robin-fairness-policy, maxRequests: 0}
              priorityBands: [{priority: 10, maxBytes: 1Gi, orderingPolicyRef: due}]
            """
        )
        #expect(said.isEmpty, "\(said)")
        let admission = try #require(found).admission
        let detector = try #require(admission.detector as? ConcurrencyDetector)
        #expect(detector.mode == .tokens && detector.maxConcurrency == 8 && detector.maxTokenConcurrency == 5_000)
        #expect(detector.headroom == 0.5)
        let flowControl = try #require(admission.flowControl)
        #expect(flowControl.maxBytes == nil && flowControl.maxRequests == 1_000)
        #expect(flowControl.requestTTL == nil && flowControl.noEndpointTTL == nil)
        #expect(flowControl.defaultBand.fairness is RoundRobinFairnessPolicy)
        #expect(flowControl.defaultBand.maxRequests == 5_000)
        #expect(flowControl.bands[10]?.maxBytes == 1 << 30)
        #expect(flowControl.bands[10]?.ordering is SLODeadlineOrderingPolicy)
        #expect(flowControl.usageLimit as? StaticUsageLimitPolicy == StaticUsageLimitPolicy(threshold: 0.9))
    }

    @Test("References of the wrong kind are errors where they stand")
    func wrongKinds() {
        let (found, said) = setup(
            """
            featureGates: [flowControl]
            plugins: [{type: queue-scorer}, {type: edf-ordering-policy}]
            flowControl:
              saturationDetector: {pluginRef: queue-scorer}
              usageLimitPolicyPluginRef: edf-ordering-policy
              defaultPriorityBand: {fairnessPolicyRef: edf-ordering-policy, orderingPolicyRef: queue-scorer}
            """
        )
        #expect(found == nil)
        #expect(
            said == [
                #"f:6:35: error: "queue-scorer" is a scorer, not a saturation detector"#,
                #"f:7:30: error: "edf-ordering-policy" is an ordering policy, not a usage limit policy"#,
                #"f:8:44: error: "edf-ordering-policy" is an ordering policy, not a fairness policy"#,
                #"f:8:84: error: "queue-scorer" is a scorer, not an ordering policy"#,
            ]
        )
    }

    @Test(
        "Parameters out of range and of the wrong kind are errors",
        arguments: [
            ("utilization-detector", "queueDepthThreshold: 0", "must be at least 1, not 0"),
            ("utilization-detector", "kvCacheUtilThreshold: 1.5", "must be at most 1, not 1.5"),
            ("utilization-detector", "metricsStalenessThreshold: 5", "must be a duration"),
            ("utilization-detector", "queueDepthTreshold: 5", "did you mean \"queueDepthThreshold\"?"),
            ("concurrency-detector", "concurrencyMode: bytes", "must be one of requests, tokens"),
            ("concurrency-detector", "maxConcurrency: -1", "must be at least 1, not -1"),
            ("static-usage-limit-policy", "threshold: 0", "must be at least 0.001, not 0"),
            ("fcfs-ordering-policy", "x: 1", "unknown parameter \"x\""),
        ]
    )
    func parameters(type: String, parameter: String, expected: String) {
        let (found, said) = setup("plugins: [{type: queue-scorer}, {type: \(type), parameters: {\(parameter)}}]")
        #expect(found == nil)
        #expect(said.contains { $0.contains(expected) && $0.contains(": error: ") }, "\(said)")
    }

    @Test("Two detectors need a word about which counts; what has no effect is warned of")
    func warnings() {
        let (two, said) = setup(
            "plugins: [{type: queue-scorer}, {type: utilization-detector}, {type: concurrency-detector}]"
        )
        #expect(two == nil)
        #expect(said.count == 1 && said[0].contains("several saturation detectors"), "\(said)")
        let (idle, warned) = setup("plugins: [{type: queue-scorer}, {type: edf-ordering-policy}]\nflowControl: {}")
        #expect(idle != nil)
        #expect(
            warned == [
                #"f:3:33: warning: "edf-ordering-policy" has no effect without the feature gate "flowControl""#,
                #"f:4:1: warning: flowControl has no effect without the feature gate "flowControl""#,
            ]
        )
    }

    @Test("A detector that needs metrics is of no use where none are read")
    func noMetrics() {
        let text = "featureGates: [flowControl]\ndataLayer: {injectDefaults: false}\nplugins: [{type: queue-scorer}"
        let (none, said) = setup(text + "]")
        #expect(none == nil)
        #expect(said.count == 2 && said[0].hasPrefix("f:3:16: error: flow control would let nothing in"), "\(said)")
        #expect(setup(text + ", {type: concurrency-detector}]").setup != nil)
    }

    @Test("A detector in a profile is a filter")
    func filter() throws {
        let (found, said) = setup(
            """
            plugins: [{type: queue-scorer}, {name: room, type: concurrency-detector}]
            schedulingProfiles: [{name: p, plugins: [{pluginRef: room}, {pluginRef: queue-scorer}]}]
            """
        )
        #expect(said.isEmpty)
        let setup = try #require(found)
        #expect(setup.scheduler.profiles.first?.filters.map(\.name) == ["room"])
        #expect(setup.admission.detector is UtilizationDetector)
    }
}
