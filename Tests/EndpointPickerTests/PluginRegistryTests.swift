import Configuration
import Discovery
import Scheduling
import Testing

@testable import EndpointPicker

private let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"

private func setup(_ text: String, header: String = header) -> (setup: SchedulingSetup?, said: [String]) {
    let result = ConfigurationLoader.setup(text: Array((header + text).utf8), file: "f")
    return (result.setup, result.diagnostics.map(\.description))
}

private func weights(_ profile: SchedulingProfile?) -> [String: Float] {
    Dictionary(uniqueKeysWithValues: (profile?.scorers ?? []).map { ($0.name, $0.weight) })
}

@Suite("The plugin registry and what is assembled")
struct PluginRegistryTests {
    @Test("Without a configuration: prefill-cost-scorer and a single max-score profile")
    func builtIn() {
        let setup = SchedulingSetup.builtIn()
        #expect(setup.scheduler.profiles.map(\.name) == ["default"])
        #expect(weights(setup.scheduler.profiles.first) == ["prefill-cost-scorer": 1])
        #expect(setup.scheduler.profiles.first?.picker is MaxScorePicker)
        #expect(setup.scheduler.handler is SingleProfileHandler)
        #expect(setup.scheduler.prefixCache?.settings == PrefixCacheSettings())
        #expect(setup.metrics == SchedulingSetup.MetricsSettings())
        #expect(setup.discovery == nil)
        #expect(setup.parsers == ["openai-parser", "anthropic-parser", "vllmhttp-parser", "passthrough-parser"])
    }

    @Test("Endpoints can come from the DNS, by name and port or by services")
    func dnsDiscovery() throws {
        func discovery(_ parameters: String) -> (settings: DiscoverySettings?, said: [String]) {
            let (found, said) = setup("plugins: [{type: dns-discovery, parameters: {\(parameters)}}]")
            return (found?.discovery, said)
        }
        var expected = DNSDiscoverySettings(name: "vllm.prod.svc", port: 8000)
        #expect(discovery("name: vllm.prod.svc, port: 8000").settings == .dns(expected))
        expected.interval = .seconds(1)
        #expect(discovery("name: vllm.prod.svc, port: \"8000\", type: A, interval: 1s").settings == .dns(expected))
        var services = DNSDiscoverySettings(name: "_http._tcp.vllm", port: 0)
        services.type = .srv
        #expect(discovery("name: _http._tcp.vllm, type: SRV").settings == .dns(services))
        services.port = 1
        let useless = discovery("name: _http._tcp.vllm, type: SRV, port: 1")
        #expect(useless.settings == .dns(services))
        #expect(useless.said.count == 1 && useless.said[0].contains("is not used with SRV"))
    }

    @Test("llm-d's file-discovery sample loads without a word")
    func fileDiscoverySample() throws {
        let (found, said) = setup(
            """
            plugins:
            - {name: file-disc, type: file-discovery, parameters: {path: /etc/epp/endpoints.yaml, watchFile: true}}
            - {type: queue-scorer}
            - {type: kv-cache-utilization-scorer}
            - {type: prefix-cache-scorer}
            schedulingProfiles:
            - name: default
              plugins:
              - {pluginRef: queue-scorer, weight: 2}
              - {pluginRef: kv-cache-utilization-scorer, weight: 2}
              - {pluginRef: prefix-cache-scorer, weight: 3}
            dataLayer: {discovery: {pluginRef: file-disc}}
            """
        )
        #expect(said.isEmpty)
        let setup = try #require(found)
        #expect(setup.discovery == .file(FileDiscoverySettings(path: "/etc/epp/endpoints.yaml", watchFile: true)))
        #expect(
            weights(setup.scheduler.profiles.first)
                == ["queue-scorer": 2, "kv-cache-utilization-scorer": 2, "prefix-cache-scorer": 3]
        )
        #expect(setup.metrics != nil)
    }

    @Test("Unknown types and parameters are told from later ones, with the closest known name, all at once")
    func unknown() {
        let (found, said) = setup(
            """
            plugins:
            - type: queu-scorer
            - type: latency-scorer
            - type: token-load-scorer
              parameters: {queueTresholdTokens: 5}
            - type: max-score-picker
              parameters:
                maxNumOfEndpoints: many
            - type: something-else-altogether
            - type: kv-cache-utilization-scorer
              parameters: {weight: 1}
            """
        )
        #expect(found == nil)
        #expect(
            said == [
                #"f:4:9: error: unknown plugin type "queu-scorer"; did you mean "queue-scorer"?"#,
                #"f:5:9: error: plugin type "latency-scorer" is not available yet in this version"#,
                #"f:7:16: error: unknown parameter "queueTresholdTokens"; did you mean "queueThresholdTokens"?"#,
                #"f:10:24: error: parameter "maxNumOfEndpoints" must be an integer, not "many""#,
                #"f:11:9: error: unknown plugin type "something-else-altogether""#,
                #"f:13:16: error: unknown parameter "weight""#,
            ]
        )
    }

    @Test(
        "A parameter out of range, of the wrong type or misspelt is an error where it stands",
        arguments: [
            ("token-load-scorer", "queueThresholdTokens: 0", "must be at least 1, not 0"),
            ("token-load-scorer", "queueThresholdTokens: -5", "must be at least 1, not -5"),
            ("token-load-scorer", "queueThresholdTokens: 1.5", "must be an integer"),
            ("prefix-cache-scorer", "matchLengthWeight: 1.1", "must be at most 1, not 1.1"),
            ("prefix-cache-scorer", "matchLengthWeight: .nan", "must be a number"),
            ("prefix-cache-scorer", "matchLengthScaleTokens: 0", "must be at least 1"),
            ("prefix-cache-scorer", "autoTune: 1", "must be true or false"),
            ("approx-prefix-cache-producer", "blockSizeTokens: 0", "must be at least 1"),
            ("approx-prefix-cache-producer", "blockSize: 64", "no longer supported; use \"blockSizeTokens\""),
            ("approx-prefix-cache-producer", "lruCapacityPerServer: 99999999999", "must be at most 16777216"),
            ("approx-prefix-cache-producer", "maxPrefixBlocksToMatch: []", "must be an integer, not a list"),
            ("approx-prefix-cache-producer", "maxPrefixTokensToMatch: -1", "must be at least 0"),
            ("inflight-load-producer", "outputRatio: -1", "must be at least 0"),
            ("token-producer", "backend: uds", "must be one of estimate"),
            ("metrics-data-source", "scheme: ftp", "must be one of http, https"),
            ("metrics-data-source", "path: metrics", "must begin with /"),
            ("core-metrics-extractor", "defaultEngine: vlm", "did you mean \"vllm\"?"),
            ("core-metrics-extractor", "engineConfigs: {}", "must be a list"),
            ("file-discovery", "path: ''", "missing parameter \"path\""),
            ("file-discovery", "watchFile: true", "missing parameter \"path\""),
            ("utilization-detector", "metricsStalenessThreshold: 200", "must be a duration"),
            ("concurrency-detector", "concurrencyMode: token", "did you mean \"tokens\"?"),
            ("max-score-picker", "maxNumOfEndpoints: 1001", "must be at most 1000"),
        ]
    )
    func badParameter(type: String, parameter: String, message: String) {
        let (found, said) = setup("plugins:\n- type: \(type)\n  parameters:\n    \(parameter)\n")
        #expect(found == nil)
        let errors = said.filter { $0.contains(": error: ") }
        #expect(errors.count == 1, "\(said)")
        #expect(errors.first?.contains(message) == true, "\(said)")
        #expect(errors.first?.hasPrefix("f:6:") == true, "\(said)")
    }

    @Test("Every available type loads without parameters, but for those that need some")
    func everyType() {
        let demanding: Set = [
            "file-discovery", "dns-discovery", "by-label", "utilization-filter", "endpoint-attribute-filter",
            "endpoint-attribute-scorer",
            "header-label-affinity-scorer", "session-id-producer", "disagg-profile-handler", "pd-profile-handler",
        ]
        for type in PluginRegistry.availableTypes where !demanding.contains(type) {
            let (found, said) = setup("plugins:\n- type: \(type)\n")
            #expect(found != nil, "\(type): \(said)")
        }
    }

    @Test("No type is both available and of a later version")
    func disjoint() {
        #expect(PluginRegistry.laterTypes.isDisjoint(with: PluginRegistry.availableTypes))
    }

    @Test("Without profiles there is one named default with every scorer at weight 1, and a declared picker")
    func noProfiles() {
        let (found, said) = setup(
            """
            plugins:
            - type: queue-scorer
            - {name: mine, type: token-load-scorer, parameters: {queueThresholdTokens: 100}}
            - {type: max-score-picker, parameters: {maxNumOfEndpoints: 3}}
            """
        )
        #expect(said.isEmpty)
        let profile = found?.scheduler.profiles.first
        #expect(profile?.name == "default")
        #expect(weights(profile) == ["queue-scorer": 1, "mine": 1])
        #expect((profile?.scorers.last?.scorer as? TokenLoadScorer)?.queueThresholdTokens == 100)
        #expect((profile?.picker as? MaxScorePicker)?.maxNumOfEndpoints == 3)
        #expect(found?.scheduler.prefixCache == nil)
    }

    @Test("A picker that some plugin declares serves the profiles that name none")
    func sharedPicker() {
        let (found, _) = setup(
            """
            plugins:
            - type: queue-scorer
            - {type: max-score-picker, parameters: {maxNumOfEndpoints: 2}}
            schedulingProfiles:
            - {name: p, plugins: [{pluginRef: queue-scorer}]}
            """
        )
        #expect((found?.scheduler.profiles.first?.picker as? MaxScorePicker)?.maxNumOfEndpoints == 2)
        #expect(weights(found?.scheduler.profiles.first) == ["queue-scorer": 1])
    }

    @Test("maxNumOfEndpoints below 1 is 1, with a warning")
    func fewEndpoints() {
        let (found, said) = setup(
            "plugins: [{type: queue-scorer}, {type: max-score-picker, parameters: {maxNumOfEndpoints: 0}}]"
        )
        #expect(said == [#"f:3:90: warning: parameter "maxNumOfEndpoints" below 1 counts as 1"#])
        #expect((found?.scheduler.profiles.first?.picker as? MaxScorePicker)?.maxNumOfEndpoints == 1)
    }

    @Test("The prefix-cache-scorer's own parameters make the producer; a producer of its own goes before")
    func prefixCache() {
        let scorer = "{type: prefix-cache-scorer, parameters: {blockSizeTokens: 128, autoTune: false}}"
        let (alone, said) = setup("plugins:\n- \(scorer)\n")
        #expect(said.isEmpty)
        #expect(alone?.scheduler.prefixCache?.settings.blockSizeTokens == 128)
        #expect(alone?.scheduler.prefixCache?.settings.autoTune == false)
        #expect(alone?.scheduler.prefixCache?.settings.isCapacityGiven == false)

        let (both, warned) = setup(
            "plugins:\n- \(scorer)\n- {type: approx-prefix-cache-producer, parameters: {lruCapacityPerServer: 7}}\n"
        )
        #expect(both?.scheduler.prefixCache?.settings.lruCapacityPerServer == 7)
        #expect(both?.scheduler.prefixCache?.settings.isCapacityGiven == true)
        #expect(both?.scheduler.prefixCache?.settings.autoTune == true)
        #expect(
            warned == [
                "f:4:3: warning: block parameters of \"prefix-cache-scorer\" do not count: the producer has its own"
            ]
        )
    }

    @Test("A limit in blocks counts unless a limit in tokens is given, too")
    func prefixLimits() {
        let blocks = setup("plugins: [{type: prefix-cache-scorer, parameters: {maxPrefixBlocksToMatch: 10}}]").setup
        #expect(blocks?.scheduler.prefixCache?.settings.maximumBlocks(blockTokens: 16) == 10)
        let both = setup(
            "plugins: [{type: prefix-cache-scorer, parameters: {maxPrefixBlocksToMatch: 10, maxPrefixTokensToMatch: 64}}]"
        ).setup
        #expect(both?.scheduler.prefixCache?.settings.maximumBlocks(blockTokens: 16) == 4)
    }

    @Test("Small blocks without autoTune are warned of")
    func smallBlocks() {
        let (found, said) = setup(
            "plugins: [{type: prefix-cache-scorer, parameters: {blockSizeTokens: 16, autoTune: false}}]"
        )
        #expect(found != nil)
        #expect(said == [#"f:3:69: warning: parameter "blockSizeTokens" below 64 counts as 64 without autoTune"#])
    }

    @Test("The name of a producer must be known")
    func producerName() {
        let (found, said) = setup(
            """
            plugins:
            - {name: prefixes, type: approx-prefix-cache-producer}
            - type: prefix-cache-scorer
              parameters: {prefixMatchInfoProducerName: prefxes}
            """
        )
        #expect(found == nil)
        #expect(
            said == [
                #"f:6:45: error: no approx-prefix-cache-producer is named "prefxes"; did you mean "prefixes"?"#
            ]
        )
        let usual = "{prefixMatchInfoProducerName: approx-prefix-cache-producer}"
        #expect(setup("plugins: [{type: prefix-cache-scorer, parameters: \(usual)}]").said.isEmpty)
    }

    @Test("Profiles hold filters, scorers and one picker; the rest does not belong there")
    func wrongKinds() {
        let (found, said) = setup(
            """
            plugins:
            - type: queue-scorer
            - type: max-score-picker
            - {name: second, type: max-score-picker}
            - type: openai-parser
            schedulingProfiles:
            - name: p
              plugins:
              - pluginRef: queue-scorer
              - pluginRef: max-score-picker
                weight: 2
              - pluginRef: second
              - pluginRef: openai-parser
            """
        )
        #expect(found == nil)
        #expect(
            said
                == [
                    "f:13:13: warning: a picker has no weight",
                    "f:14:16: error: profile \"p\" has a picker already",
                    "f:15:16: error: \"openai-parser\" is a parser; a profile has filters, scorers and a picker",
                ]
        )
    }

    @Test("Several profiles need a handler for several; two handlers are one too many")
    func handlers() {
        let profiles = "schedulingProfiles:\n- {name: a, plugins: [{pluginRef: queue-scorer}]}\n- {name: b}\n"
        let (none, needed) = setup("plugins: [{type: queue-scorer}]\n" + profiles)
        #expect(none == nil)
        #expect(needed.contains("f:6:3: error: there are 2 profiles: a profile handler is needed"), "\(needed)")
        let (single, one) = setup("plugins: [{type: queue-scorer}, {type: single-profile-handler}]\n" + profiles)
        #expect(single == nil)
        #expect(one.contains("f:6:3: error: there are 2 profiles: the profile handler runs only one"), "\(one)")
        let (two, many) = setup(
            "plugins: [{type: queue-scorer}, {type: single-profile-handler}, {name: x, type: single-profile-handler}]"
        )
        #expect(two == nil)
        #expect(many == ["f:3:65: error: only one profile handler is allowed"])
    }

    @Test("What is declared and not used, and a profile without scorers, are warned of")
    func unused() {
        let (found, said) = setup(
            """
            plugins:
            - type: queue-scorer
            - type: lora-affinity-scorer
            schedulingProfiles:
            - name: p
              plugins: [{pluginRef: queue-scorer}]
            """
        )
        #expect(found != nil)
        #expect(said == [#"f:5:3: warning: plugin "lora-affinity-scorer" is not used"#])
        let randomly = setup("plugins: [{type: random-picker}]")
        #expect(randomly.said == ["f:1:1: warning: profile \"default\" has no scorer: it picks at random"])
    }

    @Test("A configuration that says nothing of scheduling schedules as none at all does")
    func builtInScheduling() throws {
        let (found, said) = setup(
            """
            plugins:
            - {type: file-discovery, parameters: {path: /e.yaml}}
            dataLayer: {discovery: {pluginRef: file-discovery}}
            """
        )
        let profiles = try #require(found?.scheduler.profiles)
        #expect(said == [])
        #expect(profiles.map(\.name) == ["default"])
        #expect(
            profiles.first?.scorers.map { "\($0.name) \($0.weight)" } == ["prefill-cost-scorer 1.0"]
        )
    }

    @Test("Metrics are read by default, with the parameters of declared plugins, and not when the data layer says so")
    func metrics() {
        let plugins = """
            plugins:
            - type: queue-scorer
            - {type: metrics-data-source, parameters: {path: /m, scheme: http, insecureSkipVerify: false}}
            - {type: core-metrics-extractor, parameters: {defaultEngine: sglang}}

            """
        let declared = setup(plugins).setup?.metrics
        #expect(declared?.source.path == "/m")
        #expect(declared?.source.scheme == "http")
        #expect(declared?.source.insecureSkipVerify == false)
        #expect(declared?.extractor.defaultEngine == "sglang")
        let wired = setup(
            plugins
                + "dataLayer: {sources: [{pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}]}"
        )
        #expect(wired.said.isEmpty)
        #expect(wired.setup?.metrics == declared)
        #expect(setup("plugins: [{type: queue-scorer}]\ndataLayer: {injectDefaults: false}").setup?.metrics == nil)
        #expect(setup("plugins: [{type: queue-scorer}]\ndataLayer: {injectDefaults: true}").setup?.metrics != nil)
    }

    @Test("References of the wrong kind are errors where they stand")
    func wrongReferences() {
        let (found, said) = setup(
            """
            plugins:
            - type: queue-scorer
            requestHandler: {parsers: [{pluginRef: queue-scorer}]}
            dataLayer:
              sources: [{pluginRef: queue-scorer}]
              discovery: {pluginRef: queue-scorer}
            """
        )
        #expect(found == nil)
        #expect(
            said == [
                #"f:5:40: error: "queue-scorer" is a scorer, not a parser"#,
                #"f:7:25: error: "queue-scorer" is a scorer, not a data source"#,
                #"f:8:26: error: "queue-scorer" is a scorer, not a discovery"#,
            ]
        )
    }

    @Test("Parsers are named in order, each once")
    func parsers() {
        let (found, said) = setup(
            """
            plugins: [{type: anthropic-parser}, {type: openai-parser}, {name: o, type: openai-parser}, {type: queue-scorer}]
            requestHandler: {parsers: [{pluginRef: anthropic-parser}, {pluginRef: openai-parser}, {pluginRef: o}]}
            """
        )
        #expect(said.isEmpty, "\(said)")
        #expect(found?.parsers == ["anthropic-parser", "openai-parser"])
    }

    @Test("The index of earlier configurations is kept")
    func keptIndex() {
        let index = PrefixIndex()
        let text = Array((header + "plugins: [{type: prefix-cache-scorer}]").utf8)
        let setup = ConfigurationLoader.setup(text: text, file: "f", prefixIndex: index).setup
        #expect(setup?.scheduler.prefixCache?.index === index)
    }

    @Test("A file that cannot be read is an error of that file")
    func unreadable() {
        #expect(
            ConfigurationLoader.check("/nonexistent/config.yaml").map(\.description) == [
                "/nonexistent/config.yaml:1:1: error: cannot open: No such file or directory"
            ]
        )
        #expect(ConfigurationLoader.check("/").map(\.description) == ["/:1:1: error: is a directory"])
    }

    @Test(
        "Metrics are read with the older version, too, when dataLayer only says where the endpoints are; doing without is warned of"
    )
    func olderDiscovery() {
        let text = """
            kind: EndpointPickerConfig
            plugins:
            - {type: file-discovery, parameters: {path: /e}}
            - type: queue-scorer
            dataLayer: {discovery: {pluginRef: file-discovery}}
            """
        let old = "apiVersion: inference.networking.x-k8s.io/v1alpha1\n" + text
        #expect(ConfigurationLoader.setup(text: Array(old.utf8), file: "f").setup?.metrics != nil)
        let said = setup("plugins: [{type: queue-scorer}]\ndataLayer: {injectDefaults: false}").said
        #expect(said.contains { $0.contains("\"queue-scorer\" decides by metrics, and dataLayer reads none") })
    }

    @Test("A byte-order mark is passed over, and positions do not count it")
    func byteOrderMark() {
        let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorers}]"
        let result = ConfigurationLoader.setup(text: [0xEF, 0xBB, 0xBF] + Array(text.utf8), file: "f")
        #expect(result.diagnostics.last?.position == SourcePosition(line: 3, column: 18))
    }
}
