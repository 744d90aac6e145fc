import Configuration
import Scheduling
import Testing

@testable import EndpointPicker

private let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"

private func setup(_ text: String) -> (setup: SchedulingSetup?, said: [String]) {
    let result = ConfigurationLoader.setup(text: Array((header + text).utf8), file: "f")
    return (result.setup, result.diagnostics.map(\.description))
}

/// A configuration of one plugin in the profile of everything.
private func one(_ type: String, _ parameters: String = "{}") -> (setup: SchedulingSetup?, said: [String]) {
    setup("plugins:\n- type: queue-scorer\n- type: \(type)\n  parameters: \(parameters)\n")
}

private func filter<Kind>(_ setup: SchedulingSetup?, as kind: Kind.Type) -> Kind? {
    setup?.scheduler.profiles.first?.filters.first?.filter as? Kind
}

private func scorer<Kind>(_ setup: SchedulingSetup?, as kind: Kind.Type) -> Kind? {
    setup?.scheduler.profiles.first?.scorers.last?.scorer as? Kind
}

@Suite("What plugins make of their parameters")
struct PluginParameterTests {
    @Test(
        "A parameter out of range, of the wrong type or misspelt is an error where it stands",
        arguments: [
            ("label-selector-filter", "{matchLabel: {a: b}}", "did you mean \"matchLabels\"?"),
            ("label-selector-filter", "{matchLabels: [a]}", "must be a mapping"),
            (
                "label-selector-filter", "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
                "did you mean \"In\"?"
            ),
            ("label-selector-filter", "{matchExpressions: [{key: a, operator: In}]}", "In needs values"),
            (
                "label-selector-filter", "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
                "takes no values"
            ),
            ("label-selector-filter", "{matchExpressions: [{operator: Exists}]}", "missing key \"key\""),
            ("prefill-filter", "{role: prefill}", "unknown parameter \"role\""),
            ("utilization-filter", "{}", "missing parameter \"conditions\""),
            ("utilization-filter", "{conditions: []}", "must not be empty"),
            ("utilization-filter", "{conditions: [{metric: queue, maxValue: 1}]}", "must be one of active-requests"),
            ("utilization-filter", "{conditions: [{metric: waiting-queue}]}", "missing key \"maxValue\""),
            ("utilization-filter", "{conditions: [{metric: kv-cache-utilization, maxValue: 80}]}", "must be at most 1"),
            (
                "endpoint-attribute-filter", "{algorithm: {threshold: {operator: Equal}}}",
                "missing parameter \"attribute\""
            ),
            ("endpoint-attribute-filter", "{attribute: WaitingQueueSize}", "missing parameter \"algorithm\""),
            (
                "endpoint-attribute-filter",
                "{attribute: WaitingQueueSize, algorithm: {type: threshold, threshold: {operator: Less, value: 1}}}",
                "must be one of LessThan"
            ),
            (
                "endpoint-attribute-filter",
                "{attribute: WaitingQueueSize, onMissing: pass, algorithm: {threshold: {operator: Equal, value: 1}}}",
                "did you mean \"Pass\"?"
            ),
            ("topology-affinity-filter", "{minAffinity: node}", "must be one of host, rack, zone, region"),
            ("prefix-cache-affinity-filter", "{affinityThreshold: 1.1}", "must be at most 1"),
            ("prefix-cache-affinity-filter", "{ttftSource: latencyPredictor}", "is not available yet"),
            ("prefix-cache-affinity-filter", "{peakPrefillThroughput: 0}", "must be at least"),
            (
                "prefix-cache-affinity-filter", "{prefixMatchInfoProducerName: x}",
                "no approx-prefix-cache-producer is named"
            ),
            ("session-affinity-scorer", "{strategy: cookie}", "must be one of encoded_endpoint_header"),
            ("session-affinity-filter", "{strategy: session_id, evictionTtlSeconds: 0}", "must be at least"),
            ("session-affinity-filter", "{strategy: session_id, sources: [{header: a, attribute: b}]}", "and only one"),
            ("session-affinity-filter", "{profileName: decode}", "no profile is named \"decode\""),
            (
                "session-affinity-filter", "{strategy: session_id, sources: [{attribute: x}]}",
                "no session-id-producer is named"
            ),
            ("session-id-producer", "{}", "\"headerName\" and \"cookieName\" is needed"),
            ("session-id-producer", "{headerName: a, cookieName: b}", "and only one"),
            ("session-id-producer", "{headerName: a, ttl: 5}", "must be a duration"),
            ("load-aware-scorer", "{threshold: 0}", "must be at least 1"),
            ("active-request-scorer", "{maxBusyScore: 2}", "must be at most 1"),
            ("active-request-scorer", "{inFlightLoadProducerName: x}", "no inflight-load-producer is named"),
            ("no-hit-lru-scorer", "{lruSize: -1}", "must be at least 1"),
            ("context-length-aware", "{label: ''}", "must not be empty"),
            ("header-label-affinity-scorer", "{headerName: a}", "missing parameter \"labelKey\""),
            (
                "endpoint-attribute-scorer",
                "{attributeKey: QueueSize, algorithm: {type: linear_lower_is_better}}",
                "must be one of WaitingQueueSize"
            ),
            (
                "endpoint-attribute-scorer", "{attributeKey: MaxActiveModels, algorithm: {type: linear}}",
                "must be one of linear_lower"
            ),
            (
                "endpoint-attribute-scorer",
                "{attributeKey: MaxActiveModels, algorithm: {type: linear_lower_is_better, normalization: {fixedRange: {min: 1, max: 1}}}}",
                "must be less than"
            ),
            ("random-picker", "{maxNumOfEndpoints: two}", "must be an integer"),
            ("data-parallel-profile-handler", "{primaryPort: 70000}", "must be at most 65535"),
            ("header-profile-handler", "{header: x}", "unknown parameter \"header\""),
            ("prefix-based-pd-decider", "{nonCachedTokens: -1}", "must be at least 0"),
            ("disagg-profile-handler", "{stageOrder: encode-first}", "must be one of decode-first, prefill-first"),
            ("disagg-profile-handler", "{deciders: {prefil: x}}", "did you mean \"prefill\"?"),
            ("token-producer", "{backend: uds}", "must be one of estimate, vllm"),
            ("token-producer", "{vllm: {url: \"https://render:8000\", clientCertPath: /c}}", "are needed together"),
            ("token-producer", "{vllm: {url: \"https://\"}}", "must be an address such as"),
            ("token-producer", "{vllm: {url: \"render:8000\"}}", "must be an address such as"),
            ("token-producer", "{vllm: {timeout: 0s}}", "must be at least 1.0ms"),
            ("token-producer", "{backend: estimate, modelName: m}", "is for the backend \"vllm\""),
            ("token-producer", "{estimate: {image: {defaultResolution: {width: 1}}}}", "missing key \"height\""),
            ("token-producer", "{estimate: {video: {frames: {mode: none}}}}", "must be one of sampled, strided"),
            ("inflight-load-producer", "{maxEstimatedOutputTokens: -1}", "must be at least 0"),
            ("destination-endpoint-served-verifier", "{a: b}", "unknown parameter \"a\""),
            ("dns-discovery", "{port: 8000}", "missing parameter \"name\""),
            ("dns-discovery", "{name: vllm}", "missing parameter \"port\""),
            ("dns-discovery", "{name: vllm, port: 0}", "must be at least 1"),
            ("dns-discovery", "{name: vllm, port: 8000, type: MX}", "must be one of A, SRV"),
            ("dns-discovery", "{name: vllm, port: 8000, interval: 1ms}", "must be at least"),
        ]
    )
    func wrong(type: String, parameters: String, message: String) {
        let (found, said) = one(type, parameters)
        #expect(found == nil)
        let errors = said.filter { $0.contains(": error: ") }
        #expect(errors.contains { $0.contains(message) && $0.hasPrefix("f:") }, "\(said)")
        // Each finding is on the plugin's lines.
        #expect(errors.allSatisfy { $0.hasPrefix("f:5:") || $0.hasPrefix("f:6:") }, "\(said)")
    }

    @Test("Old names load with one warning each")
    func deprecated() {
        let (found, said) = setup(
            """
            plugins:
            - type: queue-scorer
            - {type: by-label, parameters: {label: a, validValues: [x, y]}}
            - {type: by-label-selector, parameters: {matchLabels: {a: x}}}
            - type: prefill-header-handler
            """
        )
        #expect(found != nil)
        #expect(
            said == [
                #"f:5:10: warning: plugin type "by-label" is deprecated: use "label-selector-filter""#,
                #"f:6:10: warning: plugin type "by-label-selector" is deprecated: use "label-selector-filter""#,
                #"f:7:9: warning: plugin type "prefill-header-handler" is deprecated: "disagg-profile-handler" sets the headers itself"#,
            ]
        )
        #expect(filter(found, as: ByLabelFilter.self)?.validValues == ["x", "y"])
    }

    @Test("Filters get what is written, and the reference's defaults")
    func filters() {
        let selector = one(
            "label-selector-filter",
            "{matchLabels: {a: 1}, matchExpressions: [{key: b, operator: NotIn, values: [x]}]}"
        )
        #expect(selector.said.isEmpty)
        #expect(
            filter(selector.setup, as: LabelSelectorFilter.self)?.requirements == [
                .init(key: "a", operator: .in, values: ["1"]), .init(key: "b", operator: .notIn, values: ["x"]),
            ]
        )
        let affinity = one("prefix-cache-affinity-filter", "{maxTTFTPenaltyMs: 5000}")
        #expect(affinity.said.isEmpty)
        var expected = PrefixCacheAffinityFilter.Settings()
        expected.maxTTFTPenaltyMs = 5_000
        #expect(filter(affinity.setup, as: PrefixCacheAffinityFilter.self)?.settings == expected)
        // Nobody else asks for a prefix cache, but the filter needs one.
        #expect(affinity.setup?.scheduler.prefixCache != nil)
        let topology = one("topology-affinity-filter").setup
        #expect(filter(topology, as: TopologyAffinityFilter.self)?.minAffinity == .host)
        let zone = one("topology-affinity-filter", "{minAffinity: zone, peerTopologyHeader: X-P}").setup
        #expect(filter(zone, as: TopologyAffinityFilter.self)?.minAffinity == .zone)
        #expect(filter(zone, as: TopologyAffinityFilter.self)?.peerHeader == "x-p")
        let usage = one(
            "utilization-filter",
            "{conditions: [{metric: waiting-queue, maxValue: 5}], fallbackOnEmpty: true}"
        ).setup
        #expect(filter(usage, as: UtilizationFilter.self)?.fallbackOnEmpty == true)
        let attribute = one(
            "endpoint-attribute-filter",
            "{attribute: WaitingQueueSize, onMissing: Fail, algorithm: {type: threshold, threshold: {operator: LessThan, value: 5}}}"
        ).setup
        #expect(filter(attribute, as: EndpointAttributeFilter.self)?.passesMissing == false)
        #expect(filter(attribute, as: EndpointAttributeFilter.self)?.comparison == .lessThan)
    }

    @Test("Scorers get what is written, and the reference's defaults")
    func scorers() {
        #expect(scorer(one("load-aware-scorer").setup, as: LoadAwareScorer.self)?.threshold == 128)
        let active = one("active-request-scorer", "{idleThreshold: 2, maxBusyScore: 0.5, requestTimeout: 2m}")
        #expect(
            active.said.count == 1 && active.said[0].contains(#"warning: parameter "requestTimeout" has no effect"#)
        )
        #expect(scorer(active.setup, as: ActiveRequestScorer.self)?.idleThreshold == 2)
        #expect(scorer(active.setup, as: ActiveRequestScorer.self)?.maxBusyScore == 0.5)
        let coldest = one("no-hit-lru-scorer", "{lruSize: 2048}").setup
        #expect(scorer(coldest, as: NoHitLRUScorer.self)?.lruSize == 2_048)
        #expect(coldest?.scheduler.policies.observers.count == 1)
        #expect(coldest?.scheduler.prefixCache != nil)
        let length = one("context-length-aware", "{enableFiltering: true}").setup
        #expect(scorer(length, as: ContextLengthAware.self)?.label == "llm-d.ai/context-length-range")
        #expect(filter(length, as: ContextLengthAware.self) != nil)
        #expect(one("context-length-aware").setup?.scheduler.profiles.first?.filters.isEmpty == true)
        let fixed = one(
            "endpoint-attribute-scorer",
            "{attributeKey: KVCacheUsagePercent, algorithm: {type: linear_lower_is_better, normalization: {fixedRange: {min: 0, max: 1}}}}"
        ).setup
        #expect(scorer(fixed, as: EndpointAttributeScorer.self)?.fixedRange == 0...1)
        #expect(scorer(fixed, as: EndpointAttributeScorer.self)?.lowerIsBetter == true)
    }

    @Test("Session affinity is the token's unless a strategy says otherwise; producers say what a session is")
    func sessions() throws {
        let token = one("session-affinity-scorer")
        #expect(token.said.isEmpty)
        #expect(token.setup?.scheduler.policies.sessionTokens == [SessionToken()])
        #expect(token.setup?.scheduler.policies.observers.isEmpty == true)

        let named = setup(
            """
            plugins:
            - {name: sessions, type: session-id-producer, parameters: {cookieName: sid, lruSize: 7, ttl: 1h}}
            - type: session-affinity-filter
              parameters: {strategy: session_id, evictionTtlSeconds: 60, sources: [{header: X-S}, {attribute: sessions}]}
            - {name: bound, type: session-affinity-scorer, parameters: {sessionIDProducerName: sessions}}
            """
        )
        #expect(named.said.isEmpty)
        let policies = try #require(named.setup?.scheduler.policies)
        #expect(policies.sessionTokens.isEmpty)
        let registries = policies.observers.compactMap { $0 as? SessionRegistry }
        #expect(registries.map(\.sources) == [[.cookie("sid")], [.header("x-s"), .cookie("sid")]])
        #expect(registries.map(\.bindings.capacity) == [7, SessionBindings.defaultCapacity])
        #expect(registries.map(\.bindings.timeToLive) == [.seconds(3_600), .seconds(60)])
    }

    @Test("session_id reads the mapping that llm-d has for it, and has no preference for a new session")
    func sessionIdentifiers() throws {
        let (found, said) = setup(
            """
            plugins:
            - {name: sessions, type: session-id-producer, parameters: {headerName: X-T}}
            - type: session-affinity-filter
              parameters:
                strategy: session_id
                sessionIdConfig:
                  sources: [{header: X-S}, {attribute: session-id, producer: sessions}]
                  evictionTtlSeconds: 60
                  evictionSweepSeconds: 5
            - name: token
              type: session-affinity-scorer
              parameters: {encodedEndpointHeaderConfig: {headerName: X-Token}}
            """
        )
        #expect(said.isEmpty, "\(said)")
        let policies = try #require(found?.scheduler.policies)
        #expect(policies.sessionTokens.map(\.header) == ["x-token"])
        let registry = try #require(policies.observers.first as? SessionRegistry)
        #expect(registry.sources == [.header("x-s"), .header("x-t")])
        #expect(registry.bindings.timeToLive == .seconds(60))
        #expect(!registry.placesNew)
    }

    @Test(
        "Every plugin that reads the load may say from which producer",
        arguments: [
            ("token-load-scorer", ""), ("active-request-scorer", ""), ("concurrency-detector", ""),
            ("utilization-filter", "conditions: [{metric: active-requests, maxValue: 5}], "),
        ]
    )
    func inFlightProducer(type: String, more: String) {
        let good = one(type, "{\(more)inFlightLoadProducerName: inflight-load-producer}")
        #expect(good.said.isEmpty || good.said.allSatisfy { $0.contains("no scorer") }, "\(good.said)")
        let bad = one(type, "{\(more)inFlightLoadProducerName: other}")
        #expect(bad.said.contains { $0.contains("no inflight-load-producer is named \"other\"") })
    }

    @Test("A topology-extractor names the labels for those who compare places")
    func topologyLabels() throws {
        let text = """
            plugins:
            - {name: places, type: topology-extractor, parameters: {hostnameLabel: host, zoneLabel: z}}
            - {type: topology-affinity-filter, parameters: {topologyProducerName: places}}
            - {type: topology-affinity-scorer}
            """
        let (found, said) = setup(text)
        #expect(said.isEmpty, "\(said)")
        var expected = Topology.Labels()
        expected.host = "host"
        expected.zone = "z"
        let profile = try #require(found?.scheduler.profiles.first)
        #expect((profile.filters.first?.filter as? TopologyAffinityFilter)?.labels == expected)
        #expect((profile.scorers.first?.scorer as? TopologyAffinityScorer)?.labels == expected)
        let wrong = one("topology-affinity-filter", "{topologyProducerName: other}")
        #expect(wrong.said.contains { $0.contains("no topology-extractor is named \"other\"") })
        #expect(one("topology-affinity-filter", "{topologyProducerName: topology-extractor}").setup != nil)
    }

    @Test("The load counts as the producer says; only one may say it")
    func inFlightLoad() {
        let (found, said) = one(
            "inflight-load-producer",
            "{addEstimatedOutputTokens: true, outputRatio: 2, maxEstimatedOutputTokens: 500}"
        )
        #expect(said.isEmpty)
        var expected = InFlightLoad()
        expected.addEstimatedOutputTokens = true
        expected.outputRatio = 2
        expected.maxEstimatedOutputTokens = 500
        #expect(found?.scheduler.policies.inFlightLoad == expected)
        let idle = one("inflight-load-producer", "{outputRatio: 2}")
        #expect(
            idle.said == [#"f:6:16: warning: parameter "outputRatio" has no effect without addEstimatedOutputTokens"#]
        )
        let two = setup("plugins: [{type: inflight-load-producer}, {name: b, type: inflight-load-producer}]")
        #expect(two.setup == nil)
        #expect(two.said.contains { $0.contains("only one inflight-load-producer is allowed") })
    }
}
