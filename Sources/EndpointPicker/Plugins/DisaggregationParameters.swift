internal import Configuration
internal import Scheduling

/// The parameters of `disagg-profile-handler`, in the form of today and in the older ones.
struct DisaggregationParameters: Sendable {
    private var stageOrder = DisaggregationHandler.StageOrder.decodeFirst
    private var profiles = DisaggregationHandler.Profiles()
    private var prefillDecider: EndpointPickerConfiguration.Reference?
    private var encodeDecider: EndpointPickerConfiguration.Reference?
    private var primaryPort: Int?
    /// Where to say what the whole comes to.
    private var position: SourcePosition

    /// `disagg-profile-handler`: `stageOrder`, `profiles`, `deciders`; or the flat names that these had.
    init(reading parameters: inout Fields) {
        position = parameters.position
        if parameters.string("stageOrder", oneOf: ["decode-first", "prefill-first"]) == "prefill-first" {
            stageOrder = .prefillFirst
        }
        let isNested = parameters.node("profiles") != nil || parameters.node("deciders") != nil
        if var names = parameters.mapping("profiles") {
            readProfiles(["decode", "prefill", "encode"], &names)
            names.finish()
        }
        if var deciders = parameters.mapping("deciders") {
            prefillDecider = Self.reference("prefill", &deciders)
            encodeDecider = Self.reference("encode", &deciders)
            deciders.finish()
        }
        let flat = [
            "decodeProfile", "prefillProfile", "encodeProfile", "prefillDeciderPluginName", "encodeDeciderPluginName",
            "deciderPluginName",
        ]
        let given = flat.filter { parameters.node($0) != nil }
        if let first = given.first, isNested {
            parameters.diagnostics.error(
                "parameter \(quoted(first)) does not go together with \"profiles\" and \"deciders\"",
                at: parameters.keyPosition(of: first)
            )
        } else if let first = given.first {
            parameters.diagnostics.warning(
                "parameter \(quoted(first)) is deprecated: use \"profiles\" and \"deciders\"",
                at: parameters.keyPosition(of: first)
            )
            readProfiles(["decodeProfile", "prefillProfile", "encodeProfile"], &parameters)
            let older = Self.reference("deciderPluginName", &parameters)
            prefillDecider = Self.reference("prefillDeciderPluginName", &parameters) ?? older
            encodeDecider = Self.reference("encodeDeciderPluginName", &parameters)
        }
        if stageOrder == .prefillFirst, let prefillDecider {
            parameters.diagnostics.error(
                "with stageOrder \"prefill-first\" there is no decider for prefill: it always runs",
                at: prefillDecider.position
            )
        }
    }

    /// `pd-profile-handler`.
    init(readingOld parameters: inout Fields) {
        position = parameters.position
        readProfiles(["decodeProfile", "prefillProfile"], &parameters)
        prefillDecider =
            Self.reference("deciderPluginName", &parameters)
            ?? EndpointPickerConfiguration.Reference("prefix-based-pd-decider", at: parameters.position)
        // 0 stands for none.
        primaryPort = parameters.integer("primaryPort", in: 0...65_535).flatMap { $0 == 0 ? nil : $0 }
        for name in ["prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName"] {
            PluginRegistry.warnWithoutEffect(name, &parameters)
        }
    }

    /// - Parameter keys: of decode, prefill and, maybe, encode.
    private mutating func readProfiles(_ keys: [String], _ fields: inout Fields) {
        profiles.decode = fields.nonEmptyString(keys[0]) ?? profiles.decode
        profiles.prefill = fields.nonEmptyString(keys[1]) ?? profiles.prefill
        if keys.count > 2 { profiles.encode = fields.nonEmptyString(keys[2]) ?? profiles.encode }
    }

    private static func reference(_ key: String, _ fields: inout Fields) -> EndpointPickerConfiguration.Reference? {
        fields.nonEmptyString(key).map { .init($0, at: fields.position(of: key)) }
    }

    // MARK: With the other plugins

    var instance: PluginInstance {
        .needsOthers { lookup in
            let prefill = decider(prefillDecider, lookup)
            let encode = decider(encodeDecider, lookup)
            checkProfiles(lookup)
            return .profileHandler(
                DisaggregationHandler(
                    stageOrder: stageOrder,
                    profiles: profiles,
                    prefillDecider: prefill,
                    encodeDecider: encode,
                    primaryPort: primaryPort
                ),
                allowsSeveralProfiles: true
            )
        }
    }

    private func decider(
        _ reference: EndpointPickerConfiguration.Reference?,
        _ lookup: PluginLookup
    ) -> (any DisaggregationDecider)? {
        guard let reference, let instance = lookup.instance(reference.name, at: reference.position) else { return nil }
        switch instance {
        case .decider(let decider): return decider
        case .unusable: return nil
        default:
            lookup.diagnostics.error(
                "\(quoted(reference.name)) is \(instance.kind), not a decider",
                at: reference.position
            )
            return nil
        }
    }

    /// Says which stages cannot run. The reference leaves them out in silence, and everything is decoded where it should not be.
    private func checkProfiles(_ lookup: PluginLookup) {
        let diagnostics = lookup.diagnostics
        if !lookup.hasProfile(profiles.decode) {
            let hint = ClosestName.hint(for: profiles.decode, among: lookup.configuration.profiles.map(\.name))
            diagnostics.error("no profile is named \(quoted(profiles.decode))\(hint)", at: position)
        }
        for (stage, profile, decider) in [
            ("prefill", profiles.prefill, prefillDecider), ("encode", profiles.encode, encodeDecider),
        ] {
            if let decider, !lookup.hasProfile(profile) {
                diagnostics.warning(
                    "\(stage) never runs: no profile is named \(quoted(profile))",
                    at: decider.position
                )
            } else if decider == nil, lookup.hasProfile(profile), stage == "encode" || stageOrder == .decodeFirst {
                diagnostics.warning(
                    "\(stage) never runs: there is a profile \(quoted(profile)), but no decider for it",
                    at: position
                )
            }
        }
        if stageOrder == .prefillFirst, !lookup.hasProfile(profiles.prefill) {
            diagnostics.warning("prefill never runs: no profile is named \(quoted(profiles.prefill))", at: position)
        }
    }
}
