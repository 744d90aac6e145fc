import Testing

@testable import Configuration

private let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"

private func load(
    _ text: String,
    header: String = header
) -> (configuration: EndpointPickerConfiguration?, said: [String]) {
    let result = ConfigurationLoader.load(text: Array((header + text).utf8), file: "f")
    return (result.configuration, result.diagnostics.map(\.description))
}

@Suite("Loading an EndpointPickerConfig")
struct ConfigurationLoaderTests {
    @Test("A whole configuration is read, with the places where it says what it says")
    func whole() throws {
        let (found, said) = load(
            """
            featureGates: [flowControl=false]
            plugins:
            - {name: disc, type: file-discovery, parameters: {path: /e}}
            - type: queue-scorer
            - type: metrics-data-source
            - type: core-metrics-extractor
            - type: openai-parser
            schedulingProfiles:
            - name: default
              plugins:
              - pluginRef: queue-scorer
                weight: 2.5
            requestHandler:
              parsers: [{pluginRef: openai-parser}]
            dataLayer:
              sources:
              - {pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}
              discovery: {pluginRef: disc}
            """
        )
        #expect(said.isEmpty, "\(said)")
        let configuration = try #require(found)
        #expect(configuration.apiVersion == .llmd)
        #expect(configuration.featureGates.map(\.isEnabled) == [false])
        #expect(
            configuration.plugins.map(\.name) == [
                "disc", "queue-scorer", "metrics-data-source", "core-metrics-extractor", "openai-parser",
            ]
        )
        #expect(configuration.plugins[0].parameters?.entries?.first?.key == "path")
        #expect(configuration.plugins[1].position == SourcePosition(line: 6, column: 3))
        #expect(configuration.plugins[1].typePosition == SourcePosition(line: 6, column: 9))
        let profile = try #require(configuration.profiles.first)
        #expect(profile.name == "default")
        #expect(profile.plugins[0].weight == 2.5)
        #expect(profile.plugins[0].plugin.position == SourcePosition(line: 13, column: 16))
        #expect(profile.plugins[0].weightPosition == SourcePosition(line: 14, column: 13))
        #expect(configuration.parsers.map(\.name) == ["openai-parser"])
        #expect(configuration.dataLayer?.sources.first?.extractors.map(\.name) == ["core-metrics-extractor"])
        #expect(configuration.dataLayer?.discovery?.name == "disc")
    }

    @Test("How much of responses is processed is one of three words; all of it when nothing is said")
    func responseProcessing() {
        #expect(load("plugins: []").configuration?.responseProcessing == .full)
        #expect(load("responseProcessing: tail").configuration?.responseProcessing == .tail)
        #expect(load("responseProcessing: headers").configuration?.responseProcessing == .headers)
        let (found, said) = load("responseProcessing: header")
        #expect(found == nil)
        #expect(said.count == 1 && said.first?.hasPrefix("f:3:21: error: ") == true, "\(said)")
    }

    @Test("The older apiVersion has parser and saturationDetector at the top; the newer one warns of them")
    func versions() {
        let text = """
            plugins: [{type: openai-parser}, {type: utilization-detector}]
            parser: {pluginRef: openai-parser}
            saturationDetector: {pluginRef: utilization-detector}
            """
        let older = load(
            text,
            header: "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"
        )
        #expect(older.said.isEmpty)
        #expect(older.configuration?.apiVersion == .gatewayAPIInferenceExtension)
        #expect(older.configuration?.parsers.map(\.name) == ["openai-parser"])
        #expect(older.configuration?.saturationDetector?.name == "utilization-detector")
        let newer = load(text)
        #expect(
            newer.said == [
                "f:4:1: warning: parser is deprecated: use requestHandler.parsers",
                "f:5:1: warning: saturationDetector is deprecated here: it belongs into flowControl",
            ]
        )
        #expect(newer.configuration != nil)
    }

    @Test(
        "Each mistake is an error where it stands",
        arguments: [
            ("plugin: []", #"f:3:1: error: unknown key "plugin"; did you mean "plugins"?"#),
            ("plugins: {}", #"f:3:10: error: key "plugins" must be a list, not a mapping"#),
            ("plugins: [x]", #"f:3:11: error: must be a mapping (key: value), not "x""#),
            ("plugins: [{name: x}]", #"f:3:11: error: missing key "type""#),
            ("plugins: [{type: ''}]", #"f:3:18: error: missing key "type""#),
            ("plugins: [{type: a, tpye: b}]", #"f:3:21: error: unknown key "tpye"; did you mean "type"?"#),
            ("plugins: [{type: [a]}]", #"f:3:18: error: key "type" must be a text, not a list"#),
            (
                "plugins: [{type: a, parameters: 5}]",
                #"f:3:33: error: parameters must be a mapping (key: value), not "5""#
            ),
            (
                "plugins: [{type: a}, {type: a}]",
                #"f:3:29: error: a plugin named "a" exists already, on line 3"#
            ),
            (
                "plugins: [{type: a}, {type: b, name: a}]",
                #"f:3:38: error: a plugin named "a" exists already, on line 3"#
            ),
            ("schedulingProfiles: [{plugins: []}]", #"f:3:22: error: missing key "name""#),
            (
                "schedulingProfiles: [{name: a}, {name: a}]",
                #"f:3:40: error: a profile named "a" exists already"#
            ),
            (
                "plugins: [{type: queue}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: qeue}]}]",
                #"f:4:54: error: no plugin is named "qeue"; did you mean "queue"?"#
            ),
            (
                "schedulingProfiles: [{name: p, plugins: [{pluginsRef: a}]}]",
                #"f:3:42: error: missing key "pluginRef""#
            ),
            (
                "plugins: [{type: a}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: a, weight: -1}]}]",
                #"f:4:65: error: key "weight" must be at least 0, not -1"#
            ),
            (
                "plugins: [{type: a}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: a, weight: .nan}]}]",
                #"f:4:65: error: key "weight" must be a number, not ".nan""#
            ),
            (
                "plugins: [{type: a}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: a, weight: 1e9}]}]",
                #"f:4:65: error: key "weight" must be at most 1000000, not 1e9"#
            ),
            (
                "plugins: [{type: a}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: a, weight: '1'}]}]",
                #"f:4:65: error: key "weight" must be a number, not "1""#
            ),
            (
                "featureGates: [flowControls]",
                #"f:3:16: error: unknown feature gate "flowControls"; did you mean "flowControl"?"#
            ),
            (
                "featureGates: [flowControl=maybe]",
                #"f:3:16: error: feature gate "flowControl" must be true or false, not "maybe""#
            ),
            ("featureGates: [[a]]", "f:3:16: error: a feature gate must be a text, not a list"),
            ("dataLayer: {discovery: {pluginRef: x}}", #"f:3:36: error: no plugin is named "x""#),
            ("dataLayer: {discovery: {}}", #"f:3:24: error: missing key "pluginRef""#),
            ("dataLayer: {sources: [{extractors: []}]}", #"f:3:23: error: missing key "pluginRef""#),
            (
                "dataLayer: {peerDiscovery: {pluginRef: x}}",
                #"f:3:13: error: key "peerDiscovery" is not available yet in this version"#
            ),
            (
                "dataLayer: {injectDefault: true}",
                #"f:3:13: error: unknown key "injectDefault"; did you mean "injectDefaults"?"#
            ),
            ("requestHandler: {parser: []}", #"f:3:18: error: unknown key "parser"; did you mean "parsers"?"#),
            ("plugins: []\nplugins: []", #"f:4:1: error: duplicate key "plugins", first on line 3"#),
        ]
    )
    func mistake(text: String, message: String) {
        let (configuration, said) = load(text)
        #expect(configuration == nil)
        #expect(said.contains(message), "\(said)")
    }

    @Test("The section orchestration is kept for whoever assembles the setup")
    func orchestration() {
        let (configuration, said) = load("orchestration: {mode: handoff}")
        #expect(configuration?.orchestration?.entries?.map(\.key) == ["mode"])
        #expect(said == [])
        #expect(load("orchestration:").configuration?.orchestration == nil)
    }

    @Test("apiVersion and kind must be there and known")
    func head() {
        #expect(
            load("plugins: []", header: "").said == [
                #"f:1:1: error: missing key "apiVersion""#, #"f:1:1: error: missing key "kind""#,
            ]
        )
        let wrong = load("", header: "apiVersion: llm-d.ai/v1alpha2\nkind: EndpointPickerconfig\n")
        #expect(wrong.configuration == nil)
        #expect(wrong.said.count == 2)
        #expect(wrong.said.first?.hasPrefix("f:1:13: error: key \"apiVersion\" must be one of") == true)
        #expect(wrong.said.last?.contains("did you mean \"EndpointPickerConfig\"?") == true)
    }

    @Test("Mistakes in several sections are said together, in the order of the text")
    func together() {
        let (_, said) = load("plugins:\n- name: x\n- type: a\n  nme: b\nschedulingProfiles:\n- nam: p\nzzz: 1\n")
        #expect(
            said == [
                #"f:4:3: error: missing key "type""#,
                #"f:6:3: error: unknown key "nme"; did you mean "name"?"#,
                #"f:8:3: error: unknown key "nam"; did you mean "name"?"#,
                #"f:8:3: error: missing key "name""#,
                #"f:9:1: error: unknown key "zzz""#,
            ]
        )
    }

    @Test("What is no mapping, or nothing, is no configuration")
    func nothing() {
        #expect(load("", header: "").said == ["f:1:1: error: the file is empty"])
        let list = load("- a", header: "")
        #expect(list.configuration == nil)
        #expect(list.said == ["f:1:1: error: must be a mapping (key: value), not a list"])
        let scalar = load("hello", header: "")
        #expect(scalar.configuration == nil)
        #expect(scalar.said == ["f:1:1: error: must be a mapping (key: value), not \"hello\""])
    }

    @Test("Flow control without its gate is ignored with a warning; gates without effect say so")
    func warnings() {
        let (configuration, said) = load(
            "flowControl: {maxBytes: 10Gi}\nfeatureGates: [enableLegacyMetrics, dataLayer=true]\n"
        )
        #expect(configuration != nil)
        #expect(said.count == 3)
        #expect(said.allSatisfy { $0.contains(": warning: ") })
        #expect(said[0].hasPrefix("f:3:1: "))
    }

    @Test("flowControl is read whole, in both apiVersions; a detector may be named in it")
    func flowControl() throws {
        let text = """
            featureGates: [flowControl]
            plugins:
            - {type: concurrency-detector}
            - {type: round-robin-fairness-policy}
            - {name: edf, type: edf-ordering-policy}
            flowControl:
              maxBytes: 10Gi
              maxRequests: 1k
              defaultRequestTTL: 30s
              noEndpointRequestTTL: 5m
              saturationDetector: {pluginRef: concurrency-detector}
              usageLimitPolicyPluginRef: static-usage-limit-policy
              enableEviction: true
              defaultPriorityBand: {maxRequests: 200, fairnessPolicyRef: round-robin-fairness-policy}
              defaultNegativePriorityBand: {maxRequests: 10}
              priorityBands:
              - {priority: 10, maxBytes: 1Gi, maxRequests: 100, orderingPolicyRef: edf}
              - {priority: -1, orderingPolicyRef: fcfs-ordering-policy}
            """
        for version in ["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"] {
            let (found, said) = load(text, header: "apiVersion: \(version)\nkind: EndpointPickerConfig\n")
            #expect(said.isEmpty, "\(said)")
            let configuration = try #require(found)
            #expect(configuration.isEnabled("flowControl"))
            #expect(configuration.saturationDetector?.name == "concurrency-detector")
            let flowControl = try #require(configuration.flowControl)
            #expect(flowControl.maxBytes == 10 << 30)
            #expect(flowControl.maxRequests == 1000)
            #expect(flowControl.defaultRequestTTL == .seconds(30))
            #expect(flowControl.noEndpointRequestTTL == .seconds(300))
            #expect(flowControl.usageLimitPolicy?.name == "static-usage-limit-policy")
            #expect(flowControl.enablesEviction)
            #expect(flowControl.defaultPriorityBand?.maxRequests == 200)
            #expect(flowControl.defaultPriorityBand?.fairnessPolicy?.name == "round-robin-fairness-policy")
            #expect(flowControl.defaultNegativePriorityBand?.maxRequests == 10)
            #expect(flowControl.priorityBands.map(\.priority) == [10, -1])
            #expect(flowControl.priorityBands.first?.maxBytes == 1 << 30)
            #expect(flowControl.priorityBands.map { $0.orderingPolicy?.name } == ["edf", "fcfs-ordering-policy"])
        }
    }

    @Test(
        "Each mistake in flowControl is an error where it stands",
        arguments: [
            ("maxByte: 1", #"f:5:3: error: unknown key "maxByte"; did you mean "maxBytes"?"#),
            ("maxBytes: -1", #"f:5:13: error: key "maxBytes" must be at least 0, not -1"#),
            (
                "maxRequests: lots",
                #"f:5:16: error: key "maxRequests" must be a quantity such as 100, 1k or 10Gi, not "lots""#
            ),
            (
                "defaultRequestTTL: 30",
                #"f:5:22: error: key "defaultRequestTTL" must be a duration such as 50ms, 5s or 1m30s, not "30""#
            ),
            ("defaultRequestTTL: -1s", #"f:5:22: error: key "defaultRequestTTL" must be at least 0s, not -1s"#),
            ("priorityBands: [{maxRequests: 1}]", #"f:5:19: error: missing key "priority""#),
            (
                "priorityBands: [{priority: 1}, {priority: 1}]",
                "f:5:34: error: there is a band of priority 1 already, on line 5"
            ),
            ("priorityBands: [{priority: high}]", #"f:5:30: error: key "priority" must be an integer, not "high""#),
            (
                "defaultPriorityBand: {fairnessPolicyRef: round-robin}",
                #"f:5:44: error: no plugin is named "round-robin""#
            ),
            (
                "usageLimitPolicyPluginRef: static-usage-limit-polic",
                #"f:5:30: error: no plugin is named "static-usage-limit-polic"; did you mean "static-usage-limit-policy"?"#
            ),
            ("saturationDetector: {pluginRef: x}", #"f:5:35: error: no plugin is named "x""#),
            ("enableEviction: maybe", #"f:5:19: error: key "enableEviction" must be true or false, not "maybe""#),
        ]
    )
    func flowControlMistakes(line: String, expected: String) {
        let (configuration, said) = load("featureGates: [flowControl]\nflowControl:\n  \(line)\n")
        #expect(configuration == nil)
        #expect(said == [expected])
    }

    @Test("Garbage, bombs and oversized files end in errors")
    func hostile() {
        for text in ["\u{0}\u{1}", "[[[[", String(repeating: "a: {", count: 1_000), "%TAG ! x\n---\n"] {
            #expect(load(text, header: "").configuration == nil)
        }
        #expect(load(String(repeating: "#", count: 2 << 20)).said == ["f:1:1: error: larger than 1048576 bytes"])
        let bytes = (0..<4_096).map { _ in UInt8.random(in: 0...255) }
        #expect(ConfigurationLoader.load(text: bytes, file: "f").configuration == nil)
    }

    @Test("Lists have a limit, so that a large file takes no longer than its size")
    func longLists() {
        let plugins = (0..<20_000).map { "- type: t\($0)\n" }.joined()
        let profiles = (0..<10_000).map { "- {name: p\($0), plgins: 1}\n" }.joined()
        let (configuration, said) = load("plugins:\n\(plugins)schedulingProfiles:\n\(profiles)")
        #expect(configuration == nil)
        #expect(said.first == #"f:4:1: error: key "plugins" has 20000 elements; at most 1000 are allowed"#)
        #expect(said.count == Diagnostics.limit + 1)
    }

    @Test("An alias may stand for what was said before")
    func alias() {
        let (configuration, said) = load(
            "plugins: [&q {type: queue-scorer}]\nschedulingProfiles: [{name: p, plugins: [&r {pluginRef: queue-scorer}, *r]}]\n"
        )
        #expect(said.isEmpty)
        #expect(configuration?.profiles.first?.plugins.count == 2)
    }
}
