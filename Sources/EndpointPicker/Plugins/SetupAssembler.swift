internal import Configuration
internal import Orchestration
internal import Scheduling

/// Makes the plugins of a configuration and wires them, with the reference's defaults for what is not said. What does not fit is reported.
struct SetupAssembler {
    private(set) var configuration: EndpointPickerConfiguration
    let diagnostics: Diagnostics
    private let prefixIndex: PrefixIndex
    private(set) var instances: [String: PluginInstance] = [:]
    var used: Set<String> = []

    init(_ configuration: EndpointPickerConfiguration, _ diagnostics: Diagnostics, _ prefixIndex: PrefixIndex) {
        self.configuration = configuration
        self.diagnostics = diagnostics
        self.prefixIndex = prefixIndex
    }

    /// The setup; of use only if no error was reported.
    mutating func assemble() -> SchedulingSetup {
        for plugin in configuration.plugins {
            instances[plugin.name] = PluginRegistry.make(plugin, diagnostics)
        }
        if !declaresScheduling { declareBuiltInScheduling() }
        resolve()
        let profiles = profiles()
        let (handler, handlerPlugin) = handler(profiles.count)
        let decider = conditionalDecider()
        let metrics = metrics()
        let setup = SchedulingSetup(
            scheduler: Scheduler(
                profiles: profiles,
                handler: handler,
                prefixCache: prefixCache(for: profiles, handler, isConditional: decider != nil),
                policies: policies(profiles),
                conditionalDecider: decider,
                handlerPlugin: handlerPlugin
            ),
            metrics: metrics,
            discovery: discovery(),
            parsers: parsers(),
            orchestration: orchestration(handler),
            responseProcessing: configuration.responseProcessing,
            admission: admission(readsMetrics: metrics != nil),
            objectives: ObjectiveTable(configuration.objectives),
            modelRewrites: ModelRewriteTable(configuration.modelRewrites),
            tokens: tokens()
        )
        if handler.traits.disaggregates, setup.parsers.first == "passthrough-parser" {
            let position = configuration.parsers.first?.position ?? .start
            diagnostics.warning(
                "with a passthrough-parser bodies are not checked: clients may send members such as kv_transfer_params",
                at: position
            )
            if setup.orchestration.mode != .headers {
                diagnostics.warning(
                    "with a passthrough-parser no request is split: Apus edits only bodies that it reads",
                    at: position
                )
            }
        }
        reportUnused()
        return setup
    }

    /// Makes the instances that refer to others: the profile handlers last, since their deciders may be among them.
    private mutating func resolve() {
        var referred: Set<String> = []
        for isHandler in [false, true] {
            for plugin in configuration.plugins where plugin.type.hasSuffix("profile-handler") == isHandler {
                guard case .needsOthers(let make)? = instances[plugin.name] else { continue }
                let lookup = PluginLookup(
                    instances: instances,
                    configuration: configuration,
                    diagnostics: diagnostics,
                    use: { referred.insert($0) }
                )
                instances[plugin.name] = make(lookup)
            }
        }
        used.formUnion(referred)
    }

    // MARK: Profiles

    /// Whether the configuration says anything of how endpoints are chosen.
    private var declaresScheduling: Bool {
        !configuration.profiles.isEmpty
            || instances.values.contains { instance in
                switch instance {
                case .filter, .scorer, .filterAndScorer, .prefixCacheScorer, .picker, .profileHandler, .needsOthers,
                    .unusable:
                    true
                default: false
                }
            }
    }

    /// A file that only lists endpoints, or configures what is around scheduling, schedules as no file at all does.
    private mutating func declareBuiltInScheduling() {
        let builtIn = EndpointPickerConfiguration.builtIn
        for plugin in builtIn.plugins {
            guard instances[plugin.name] == nil else { return }
            instances[plugin.name] = PluginRegistry.make(plugin, diagnostics)
            configuration.plugins.append(plugin)
        }
        configuration.profiles = builtIn.profiles
    }

    private mutating func profiles() -> [SchedulingProfile] {
        let picker = configuration.plugins.lazy.compactMap { [instances] plugin -> (String, any Picker)? in
            guard case .picker(let picker)? = instances[plugin.name] else { return nil }
            return (plugin.name, picker)
        }.first
        let types = Dictionary(configuration.plugins.map { ($0.name, $0.type) }) { first, _ in first }
        let declared = configuration.profiles.isEmpty ? [profileOfEverything()] : configuration.profiles
        return declared.map { profile($0, types, defaultPicker: picker ?? ("max-score-picker", MaxScorePicker())) }
    }

    /// What stands for the profiles of a configuration that has none.
    private func profileOfEverything() -> EndpointPickerConfiguration.Profile {
        let plugins = configuration.plugins.filter { plugin in
            switch instances[plugin.name] {
            case .filter, .scorer, .filterAndScorer, .prefixCacheScorer, .picker: true
            default: false
            }
        }
        return EndpointPickerConfiguration.Profile(
            name: "default",
            plugins: plugins.map {
                EndpointPickerConfiguration.ProfilePlugin(
                    EndpointPickerConfiguration.Reference($0.name, at: $0.position)
                )
            }
        )
    }

    private mutating func profile(
        _ profile: EndpointPickerConfiguration.Profile,
        _ types: [String: String],
        defaultPicker: (name: String, picker: any Picker)
    ) -> SchedulingProfile {
        var filters: [SchedulingProfile.NamedFilter] = []
        var scorers: [SchedulingProfile.WeightedScorer] = []
        var picker: (name: String, picker: any Picker)?
        var isComplete = true
        for plugin in profile.plugins {
            let name = plugin.plugin.name
            let type = types[name]
            used.insert(name)
            switch instances[name] {
            case .filter(let filter):
                filters.append(SchedulingProfile.NamedFilter(name: name, type: type, filter: filter))
                warnOfWeight(plugin, "a filter")
            case .saturationDetector(let detector):
                filters.append(
                    SchedulingProfile.NamedFilter(name: name, type: type, filter: SaturationFilter(detector: detector))
                )
                warnOfWeight(plugin, "a filter")
            case .scorer(let scorer):
                scorers.append(weighted(plugin, type, scorer, scorers))
            case .filterAndScorer(let filter, let scorer):
                filters.append(SchedulingProfile.NamedFilter(name: name, type: type, filter: filter))
                scorers.append(weighted(plugin, type, scorer, scorers))
            case .prefixCacheScorer(let scorer, _):
                scorers.append(weighted(plugin, type, scorer, scorers))
            case .picker(let found):
                if picker != nil {
                    diagnostics.error(
                        "profile \(quoted(profile.name)) has a picker already",
                        at: plugin.plugin.position
                    )
                }
                picker = (name, found)
                warnOfWeight(plugin, "a picker")
            case .unusable, nil:
                isComplete = false
            case .some(let other):
                diagnostics.error(
                    "\(quoted(name)) is \(other.kind); a profile has filters, scorers and a picker",
                    at: plugin.plugin.position
                )
                isComplete = false
            }
        }
        if scorers.isEmpty, isComplete {
            diagnostics.warning(
                "profile \(quoted(profile.name)) has no scorer: it picks at random",
                at: profile.position
            )
        }
        let chosen = picker ?? defaultPicker
        return SchedulingProfile(
            name: profile.name,
            filters: filters,
            scorers: scorers,
            picker: chosen.picker,
            pickerName: chosen.name,
            pickerType: types[chosen.name] ?? chosen.name
        )
    }

    private func weighted(
        _ plugin: EndpointPickerConfiguration.ProfilePlugin,
        _ type: String?,
        _ scorer: any Scorer,
        _ earlier: [SchedulingProfile.WeightedScorer]
    ) -> SchedulingProfile.WeightedScorer {
        let name = plugin.plugin.name
        if earlier.contains(where: { $0.name == name }) {
            diagnostics.warning(
                "\(quoted(name)) is in this profile already; its weights add up",
                at: plugin.plugin.position
            )
        }
        return SchedulingProfile.WeightedScorer(
            name: name,
            type: type,
            weight: Float(plugin.weight ?? 1),
            scorer: scorer
        )
    }

    private func warnOfWeight(_ plugin: EndpointPickerConfiguration.ProfilePlugin, _ kind: String) {
        guard plugin.weight != nil else { return }
        diagnostics.warning("\(kind) has no weight", at: plugin.weightPosition)
    }

    private mutating func handler(
        _ profileCount: Int
    ) -> (handler: any ProfileHandler, plugin: (name: String, type: String)) {
        var found: (handler: any ProfileHandler, allowsSeveral: Bool, plugin: (name: String, type: String))?
        var isComplete = true
        for plugin in configuration.plugins {
            if case .unusable? = instances[plugin.name] { isComplete = false }
            guard case .profileHandler(let handler, let allowsSeveral)? = instances[plugin.name] else { continue }
            used.insert(plugin.name)
            if found != nil {
                diagnostics.error("only one profile handler is allowed", at: plugin.position)
                continue
            }
            found = (handler, allowsSeveral, (plugin.name, plugin.type))
        }
        // A handler that cannot be made has been reported; that several profiles lack one then says nothing new.
        if profileCount > 1, isComplete, found?.allowsSeveral != true,
            let second = configuration.profiles.dropFirst().first
        {
            let problem =
                found == nil ? "a profile handler is needed" : "the profile handler runs only one"
            diagnostics.error("there are \(profileCount) profiles: \(problem)", at: second.position)
        }
        let name = "single-profile-handler"
        return (found?.handler ?? SingleProfileHandler(), found?.plugin ?? (name, name))
    }

    /// Nobody need refer to the decider; that it is there is enough.
    private mutating func conditionalDecider() -> PrefixBasedDecider? {
        for plugin in configuration.plugins {
            if case .decider(let decider)? = instances[plugin.name], let decider = decider as? PrefixBasedDecider {
                used.insert(plugin.name)
                return decider
            }
        }
        return nil
    }

    // MARK: Prefix cache

    /// The producer that is configured, or the one that a prefix-cache-scorer asks for, or one for others who need it; nil when nobody does.
    private mutating func prefixCache(
        for profiles: [SchedulingProfile],
        _ handler: any ProfileHandler,
        isConditional: Bool
    ) -> ApproximatePrefixCache? {
        var producers: [(name: String, settings: PrefixCacheSettings)] = []
        for plugin in configuration.plugins {
            guard case .prefixCache(let settings)? = instances[plugin.name] else { continue }
            used.insert(plugin.name)
            if !producers.isEmpty {
                diagnostics.error("only one approx-prefix-cache-producer is allowed", at: plugin.position)
            }
            producers.append((plugin.name, settings))
        }
        var settings = producers.first?.settings
        for plugin in configuration.plugins {
            guard case .prefixCacheScorer(_, let demand)? = instances[plugin.name], used.contains(plugin.name) else {
                continue
            }
            if let name = demand.producer, !producers.contains(where: { $0.name == name }),
                !producers.isEmpty || name != "approx-prefix-cache-producer"
            {
                let hint = ClosestName.hint(for: name, among: producers.map(\.name))
                diagnostics.error(
                    "no approx-prefix-cache-producer is named \(quoted(name))\(hint)",
                    at: demand.producerPosition
                )
            }
            if let settings, demand.hasSettings, demand.settings != settings {
                diagnostics.warning(
                    "block parameters of \(quoted(plugin.name)) do not count: "
                        + (producers.isEmpty ? "another prefix-cache-scorer gives others" : "the producer has its own"),
                    at: plugin.position
                )
            }
            settings = settings ?? demand.settings
        }
        let isRead = profiles.contains { profile in
            profile.filters.contains { $0.filter.readsPrefixMatches }
                || profile.scorers.contains { $0.scorer.readsPrefixMatches }
        }
        if settings == nil, isConditional || handler.traits.readsPrefixMatches || isRead {
            settings = PrefixCacheSettings()
        }
        return settings.map { ApproximatePrefixCache(settings: $0, index: prefixIndex) }
    }
}
