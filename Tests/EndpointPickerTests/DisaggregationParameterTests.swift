import Configuration
import Scheduling
import Testing

@testable import EndpointPicker

private let header = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"

private func setup(_ text: String) -> (setup: SchedulingSetup?, said: [String]) {
    let result = ConfigurationLoader.setup(text: Array((header + text).utf8), file: "f")
    return (result.setup, result.diagnostics.map(\.description))
}

private func disaggregation(_ setup: SchedulingSetup?) -> DisaggregationHandler? {
    setup?.scheduler.handler as? DisaggregationHandler
}

/// A handler with these parameters, both deciders, and profiles of these names.
private func configured(
    _ parameters: String,
    type: String = "disagg-profile-handler",
    decider: String = "{nonCachedTokens: 16}",
    profiles: [String] = ["prefill", "decode"]
) -> (setup: SchedulingSetup?, said: [String]) {
    setup(
        """
        plugins:
        - type: queue-scorer
        - {type: prefix-based-pd-decider, parameters: \(decider)}
        - {type: always-disagg-multimodal-decider}
        - type: \(type)
          parameters: \(parameters)
        schedulingProfiles:

        """ + profiles.map { "- {name: \($0), plugins: [{pluginRef: queue-scorer}]}\n" }.joined()
    )
}

@Suite("The parameters of disagg-profile-handler")
struct DisaggregationParameterTests {
    @Test("Deciders are found wherever they are declared; profiles have the usual names")
    func usual() throws {
        let (found, said) = configured(
            "{deciders: {prefill: prefix-based-pd-decider, encode: always-disagg-multimodal-decider}}",
            profiles: ["prefill", "decode", "encode"]
        )
        #expect(said.isEmpty)
        let handler = try #require(disaggregation(found))
        #expect(handler.stageOrder == .decodeFirst)
        #expect(handler.profiles == DisaggregationHandler.Profiles())
        #expect((handler.prefillDecider as? PrefixBasedDecider)?.nonCachedTokens == 16)
        #expect(handler.encodeDecider is MultimodalDecider)
        #expect(handler.traits.disaggregates)
        // The decider needs to know what endpoints hold, and nothing else asks for it.
        #expect(found?.scheduler.prefixCache != nil)
    }

    @Test("The flat parameters of older versions load with a warning, and not together with the others")
    func flat() {
        let (found, said) = configured(
            "{decodeProfile: d, prefillProfile: p, deciderPluginName: prefix-based-pd-decider}",
            profiles: ["p", "d"]
        )
        #expect(disaggregation(found)?.profiles.decode == "d")
        #expect(disaggregation(found)?.prefillDecider is PrefixBasedDecider)
        #expect(
            said.filter { !$0.contains("not used") } == [
                #"f:8:16: warning: parameter "decodeProfile" is deprecated: use "profiles" and "deciders""#
            ]
        )
        let mixed = configured("{decodeProfile: d, profiles: {prefill: p}}", profiles: ["p", "decode"])
        #expect(mixed.setup == nil)
        #expect(mixed.said.contains { $0.contains("does not go together with") })
    }

    @Test("pd-profile-handler is the old name, with its own parameters and the prefix decider by default")
    func old() {
        let (found, said) = configured("{primaryPort: 8000, prefixPluginName: x}", type: "pd-profile-handler")
        #expect(disaggregation(found)?.primaryPort == 8_000)
        #expect((disaggregation(found)?.prefillDecider as? PrefixBasedDecider)?.nonCachedTokens == 16)
        let expected = [
            #"f:7:9: warning: plugin type "pd-profile-handler" is deprecated: use "disagg-profile-handler""#,
            #"f:8:35: warning: parameter "prefixPluginName" has no effect"#,
        ]
        #expect(expected.allSatisfy { said.contains($0) }, "\(said)")
        let missing = setup(
            "plugins: [{type: pd-profile-handler}]\nschedulingProfiles: [{name: decode}, {name: prefill}]"
        )
        #expect(missing.setup == nil)
        #expect(missing.said.contains { $0.contains(#"no plugin is named "prefix-based-pd-decider""#) })
    }

    @Test("What cannot work is an error: a decider or profile that there is not, or that is none, or that has no place")
    func errors() {
        let cases = [
            ("{deciders: {prefill: prefix-based}}", #"f:8:36: error: no plugin is named "prefix-based""#),
            ("{deciders: {prefill: queue-scorer}}", #"f:8:36: error: "queue-scorer" is a scorer, not a decider"#),
            ("{profiles: {decode: decod}}", #"no profile is named "decod"; did you mean "decode"?"#),
            (
                "{stageOrder: prefill-first, deciders: {prefill: prefix-based-pd-decider}}",
                #"with stageOrder "prefill-first" there is no decider for prefill"#
            ),
        ]
        for (parameters, message) in cases {
            let (found, said) = configured(parameters)
            #expect(found == nil)
            #expect(said.contains { $0.contains(message) && $0.contains(": error: ") }, "\(said)")
        }
    }

    @Test("A stage that can never run is warned of")
    func traps() {
        let wants = "{deciders: {prefill: prefix-based-pd-decider}}"
        let off = configured(wants, decider: "{}")
        #expect(off.setup != nil)
        #expect(
            off.said.contains { $0.contains("warning: nonCachedTokens is 0: this decider never wants") },
            "\(off.said)"
        )
        let undecided = configured("{}")
        #expect(
            undecided.said.contains(
                #"f:8:15: warning: prefill never runs: there is a profile "prefill", but no decider for it"#
            ),
            "\(undecided.said)"
        )
        let homeless = configured(wants, profiles: ["decode"])
        #expect(homeless.said.contains { $0.contains(#"prefill never runs: no profile is named "prefill""#) })
        let first = configured("{stageOrder: prefill-first}")
        #expect(!first.said.contains { $0.contains("never runs") }, "\(first.said)")
    }

    @Test("A header-profile-handler takes the conditions of a prefix-based-pd-decider that is declared beside it")
    func headerProfiles() throws {
        let (found, _) = configured("{headerName: X-Stage}", type: "header-profile-handler")
        let handler = try #require(found?.scheduler.handler as? HeaderProfileHandler)
        #expect(handler.headerName == "x-stage")
        #expect(found?.scheduler.conditionalDecider?.nonCachedTokens == 16)
        let missing = configured("{defaultProfile: decod}", type: "header-profile-handler")
        #expect(missing.setup == nil)
        #expect(missing.said.contains { $0.contains(#"no profile is named "decod"; did you mean "decode"?"#) })
    }
}
