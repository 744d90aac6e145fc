import Configuration
import Orchestration
import Testing

@testable import EndpointPicker

private let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
/// Behind the section, so that its lines are easy to count.
private let disaggregated = """

    plugins:
    - type: queue-scorer
    - type: always-disagg-pd-decider
    - {type: disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider}}}
    schedulingProfiles:
    - {name: prefill, plugins: [{pluginRef: queue-scorer}]}
    - {name: decode, plugins: [{pluginRef: queue-scorer}]}
    """
private let encoding = """

    plugins:
    - type: queue-scorer
    - type: always-disagg-multimodal-decider
    - {type: disagg-profile-handler, parameters: {deciders: {encode: always-disagg-multimodal-decider}}}
    schedulingProfiles:
    - {name: encode, plugins: [{pluginRef: queue-scorer}]}
    - {name: decode, plugins: [{pluginRef: queue-scorer}]}
    """

private func setup(_ text: String) -> (settings: OrchestrationSettings?, said: [String]) {
    let result = ConfigurationLoader.setup(text: Array((header + text).utf8), file: "f")
    return (result.setup?.orchestration, result.diagnostics.map(\.description))
}

@Suite("The section orchestration")
struct OrchestrationSetupTests {
    @Test("Everything in it is read")
    func everything() throws {
        let (settings, said) = setup(
            """
            orchestration:
              mode: handoff
              connector: shared-storage
              encodeConnector: ""
              maxAttempts: 5
              attemptTimeout: 7s
              deadline: 1m30s
              decodeTimeout: 1500ms
              onExhausted: decode-local
              breaker: {failures: 4, openFor: 6s}
              ports: {bootstrap: 9000, p2p: 9001}
              subRequests:
                maxConcurrent: 10
                maxPerEndpoint: 9
                maxResponseBytes: 2MiB
                connectTimeout: 250ms
                scheme: https
                caFile: /etc/ca.pem
            """ + disaggregated
        )
        #expect(said == [])
        var expected = OrchestrationSettings()
        expected.mode = .handoff
        expected.connector = .sharedStorage
        expected.maxAttempts = 5
        expected.attemptTimeout = .seconds(7)
        expected.deadline = .seconds(90)
        expected.decodeTimeout = .milliseconds(1500)
        expected.onExhausted = .decodeLocal
        expected.breaker.failures = 4
        expected.breaker.openFor = .seconds(6)
        expected.ports.bootstrap = 9000
        expected.ports.p2p = 9001
        expected.subRequests.maxConcurrent = 10
        expected.subRequests.maxPerEndpoint = 9
        expected.subRequests.maxResponseBytes = 2 << 20
        expected.subRequests.connectTimeout = .milliseconds(250)
        expected.subRequests.usesTLS = true
        expected.subRequests.caFile = "/etc/ca.pem"
        #expect(settings == expected)
    }

    @Test(
        "What is not said has its default, and headers are the mode",
        arguments: [
            "", "orchestration:\n", "orchestration: {}\n", "orchestration: {mode: headers, encodeConnector: \"\"}\n",
        ]
    )
    func defaults(text: String) {
        let (settings, said) = setup(text)
        #expect(settings == OrchestrationSettings())
        #expect(said == [])
    }

    @Test(
        "Each name is taken",
        arguments: ["nixlv2", "shared-storage", "sglang", "mooncake", "offloading", "trtllm"]
    )
    func names(connector: String) {
        let (settings, said) = setup("orchestration: {mode: handoff, connector: \(connector)}" + disaggregated)
        #expect(settings?.connector.rawValue == connector)
        #expect(said == [])
    }

    @Test(
        "Mistakes are errors, each at its place",
        arguments: [
            (
                "{mode: header}",
                #"f:3:23: error: key "mode" must be one of headers, handoff, relay, not "header"; did you mean "headers"?"#
            ),
            ("{maxAttempt: 3}", #"f:3:17: error: unknown key "maxAttempt"; did you mean "maxAttempts"?"#),
            ("headers", #"f:3:16: error: must be a mapping (key: value), not "headers""#),
            (
                "{mode: handoff, connector: nixl}",
                #"f:3:43: error: key "connector" must be one of nixlv2, shared-storage, sglang, mooncake, offloading, trtllm, not "nixl"; did you mean "nixlv2"?"#
            ),
            (
                "{mode: handoff, encodeConnector: nixl}",
                #"f:3:49: error: key "encodeConnector" must be one of ec-example, ec-nixl, not "nixl""#
            ),
            ("{maxAttempts: 0}", #"f:3:30: error: key "maxAttempts" must be at least 1, not 0"#),
            ("{maxAttempts: 101}", #"f:3:30: error: key "maxAttempts" must be at most 100, not 101"#),
            (
                "{attemptTimeout: 30}",
                #"f:3:33: error: key "attemptTimeout" must be a duration such as 50ms, 5s or 1m30s, not "30""#
            ),
            ("{deadline: 0s}", #"f:3:27: error: key "deadline" must be at least 1.0ms, not 0s"#),
            ("{deadline: 2h}", #"f:3:27: error: key "deadline" must be at most 3600s, not 2h"#),
            ("{decodeTimeout: -1s}", #"f:3:32: error: key "decodeTimeout" must be at least 1.0ms, not -1s"#),
            (
                "{onExhausted: retry}",
                #"f:3:30: error: key "onExhausted" must be one of fail, decode-local, not "retry""#
            ),
            ("{breaker: {failures: 0}}", #"f:3:37: error: key "failures" must be at least 1, not 0"#),
            ("{breaker: {failure: 1}}", #"f:3:27: error: unknown key "failure"; did you mean "failures"?"#),
            ("{breaker: 3}", #"f:3:26: error: key "breaker" must be a mapping (key: value), not "3""#),
            ("{ports: {bootstrap: 65536}}", #"f:3:36: error: key "bootstrap" must be at most 65535, not 65536"#),
            ("{subRequests: {scheme: tls}}", #"f:3:39: error: key "scheme" must be one of http, https, not "tls""#),
            (
                "{subRequests: {maxResponseBytes: 1MiBB}}",
                #"f:3:49: error: key "maxResponseBytes" must be a number of bytes such as 65536, 64KiB or 1MiB, not "1MiBB""#
            ),
            (
                "{subRequests: {maxResponseBytes: 12}}",
                #"f:3:49: error: key "maxResponseBytes" must be at least 1024, not 12"#
            ),
            (
                "{subRequests: {connectTimeout: 2m}}",
                #"f:3:47: error: key "connectTimeout" must be at most 60s, not 2m"#
            ),
            (
                "{subRequests: {insecureSkipVerify: maybe}}",
                #"f:3:51: error: key "insecureSkipVerify" must be true or false, not "maybe""#
            ),
        ]
    )
    func mistakes(section: String, message: String) {
        let (settings, said) = setup("orchestration: \(section)" + disaggregated)
        #expect(settings == nil)
        #expect(said.contains(message), "\(said)")
    }

    @Test("Handing off needs a handler that disaggregates; relaying does not")
    func handler() {
        let (settings, said) = setup("orchestration:\n  mode: handoff\n")
        #expect(settings == nil)
        #expect(
            said == [
                #"f:4:9: error: mode "handoff" needs a disagg-profile-handler: without one nothing runs before the decode"#
            ]
        )
        let relay = setup("orchestration:\n  mode: relay\n")
        #expect(relay.settings?.mode == .relay)
        #expect(relay.said == [])
    }

    @Test(
        "What does nothing, or not what it seems to, is said",
        arguments: [
            (
                "{mode: headers, encodeConnector: ec-nixl, deadline: 1s}", disaggregated,
                [
                    #"f:3:32: warning: encodeConnector has no effect in the mode "headers", where a sidecar sends what is sent"#,
                    #"f:3:58: warning: deadline has no effect in the mode "headers", where a sidecar sends what is sent"#,
                ]
            ),
            (
                "{mode: handoff, deadline: 10s}", disaggregated,
                [
                    "f:3:32: warning: deadline is shorter than attemptTimeout: no attempt has the time it may take"
                ]
            ),
            (
                "{mode: handoff, encodeConnector: ec-nixl}", disaggregated,
                [
                    "f:3:32: warning: encodeConnector has no effect: no decider starts an encode stage"
                ]
            ),
            (
                "{mode: handoff}", encoding,
                [
                    "f:3:17: warning: encode endpoints are chosen, but without an encodeConnector nothing is sent to them"
                ]
            ),
            ("{mode: handoff, encodeConnector: ec-example}", encoding, []),
            ("{mode: relay, decodeTimeout: 5s}", disaggregated, []),
            (
                "{mode: relay, subRequests: {maxConcurrent: 5, maxPerEndpoint: 6}}", disaggregated,
                [
                    "f:3:30: warning: maxPerEndpoint is never reached: maxConcurrent is smaller"
                ]
            ),
            (
                "{mode: relay, subRequests: {caFile: /x, insecureSkipVerify: true}}", disaggregated,
                [
                    #"f:3:44: warning: caFile has no effect without scheme "https""#,
                    "f:3:44: warning: caFile has no effect together with insecureSkipVerify",
                    #"f:3:56: warning: insecureSkipVerify has no effect without scheme "https""#,
                ]
            ),
        ] as [(String, String, [String])]
    )
    func warnings(section: String, rest: String, messages: [String]) {
        let (settings, said) = setup("orchestration: \(section)" + rest)
        #expect(settings != nil)
        #expect(said == messages)
    }

    @Test("Bodies that pass unread cannot be split")
    func passthrough() {
        let parsers = "\nrequestHandler: {parsers: [{pluginRef: passthrough-parser}]}"
        let rest = disaggregated.replacing("plugins:", with: "plugins:\n- type: passthrough-parser", maxReplacements: 1)
        let warning = "with a passthrough-parser no request is split: Apus edits only bodies that it reads"
        let (settings, said) = setup("orchestration: {mode: handoff}" + rest + parsers)
        #expect(settings != nil)
        #expect(said.contains { $0.hasSuffix(warning) }, "\(said)")
        #expect(!setup("orchestration: {}" + rest + parsers).said.contains { $0.hasSuffix(warning) })
    }
}
