internal import Configuration
internal import Scheduling

/// Makes the plugins of a configuration and wires them, with the reference's defaults for what is not said. What does not fit is reported.
struct SetupAssembler {
    let configuration: EndpointPickerConfiguration
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
        resolve()
        let profiles = profiles()
        let handler = handler(profiles.count)
        let metrics = metrics()
        let setup = SchedulingSetup(
            scheduler: Scheduler(
                profiles: profiles,
                handler: handler,
                prefixCache: prefixCache(for: profiles, handler),
                policies: policies(profiles)
            ),
            metrics: metrics,
            discovery: discovery(),
            parsers: parsers(),
            responseProcessing: configuration.responseProcessing,
            admission: admission(readsMetrics: metrics != nil)
        )
        if handler.traits.disaggregates, setup.parsers.first == "passthrough-parser" {
            let position = configuration.parsers.first?.position ?? .start
            diagnostics.warning(
                "with a passthrough-parser bodies are not checked: clients may send members such as kv_transfer_params",
                at: position
            )
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

    private mutating func profiles() -> [SchedulingProfile] {
        let picker = configuration.plugins.lazy.compactMap { [instances] plugin -> (any Picker)? in
            guard case .picker(let picker)? = instances[plugin.name] else { return nil }
            return picker
        }.first
        let declared = configuration.profiles.isEmpty ? [profileOfEverything()] : configuration.profiles
        return declared.map { profile($0, defaultPicker: picker ?? MaxScorePicker()) }
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
        defaultPicker: any Picker
    ) -> SchedulingProfile {
        var filters: [SchedulingProfile.NamedFilter] = []
        var scorers: [SchedulingProfile.WeightedScorer] = []
        var picker: (any Picker)?
        var isComplete = true
        for plugin in profile.plugins {
            let name = plugin.plugin.name
            used.insert(name)
            switch instances[name] {
            case .filter(let filter):
                filters.append(SchedulingProfile.NamedFilter(name: name, filter: filter))
                warnOfWeight(plugin, "a filter")
            case .saturationDetector(let detector):
                filters.append(
                    SchedulingProfile.NamedFilter(name: name, filter: SaturationFilter(detector: detector))
                )
                warnOfWeight(plugin, "a filter")
            case .scorer(let scorer):
                scorers.append(weighted(plugin, scorer, scorers))
            case .filterAndScorer(let filter, let scorer):
                filters.append(SchedulingProfile.NamedFilter(name: name, filter: filter))
                scorers.append(weighted(plugin, scorer, scorers))
            case .prefixCacheScorer(let scorer, _):
                scorers.append(weighted(plugin, scorer, scorers))
            case .picker(let found):
                if picker != nil {
                    diagnostics.error(
                        "profile \(quoted(profile.name)) has a picker already",
                        at: plugin.plugin.position
                    )
                }
                picker = found
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
        return SchedulingProfile(
            name: profile.name,
            filters: filters,
            scorers: scorers,
            picker: picker ?? defaultPicker
        )
    }

    private func weighted(
        _ plugin: EndpointPickerConfiguration.ProfilePlugin,
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
        return SchedulingProfile.WeightedScorer(name: name, weight: Float(plugin.weight ?? 1), scorer: scorer)
    }

    private func warnOfWeight(_ plugin: EndpointPickerConfiguration.ProfilePlugin, _ kind: String) {
        guard plugin.weight != nil else { return }
        diagnostics.warning("\(kind) has no weight", at: plugin.weightPosition)
    }

    private mutating func handler(_ profileCount: Int) -> any ProfileHandler {
        var found: (handler: any ProfileHandler, allowsSeveral: Bool)?
        var isComplete = true
        for plugin in configuration.plugins {
            if case .unusable? = instances[plugin.name] { isComplete = false }
            guard case .profileHandler(let handler, let allowsSeveral)? = instances[plugin.name] else { continue }
            used.insert(plugin.name)
            if found != nil {
                diagnostics.error("only one profile handler is allowed", at: plugin.position)
                continue
            }
            found = (handler, allowsSeveral)
        }
        // A handler that cannot be made has been reported; that several profiles lack one then says nothing new.
        if profileCount > 1, isComplete, found?.allowsSeveral != true,
            let second = configuration.profiles.dropFirst().first
        {
            let problem =
                found == nil ? "a profile handler is needed" : "the profile handler runs only one"
            diagnostics.error("there are \(profileCount) profiles: \(problem)", at: second.position)
        }
        return found?.handler ?? SingleProfileHandler()
    }

    // MARK: Prefix cache

    /// The producer that is configured, or the one that a prefix-cache-scorer asks for, or one for others who need it; nil when nobody does.
    private mutating func prefixCache(
        for profiles: [SchedulingProfile],
        _ handler: any ProfileHandler
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
        if settings == nil, handler.traits.readsPrefixMatches || isRead {
            settings = PrefixCacheSettings()
        }
        return settings.map { ApproximatePrefixCache(settings: $0, index: prefixIndex) }
    }
}
