internal import Admission
internal import Configuration
internal import Discovery
internal import Scheduling
package import Scraping

/// What a plugin type makes of its parameters.
enum PluginInstance: Sendable {
    case filter(any Filter)
    case scorer(any Scorer)
    /// A scorer that leaves candidates out as well.
    case filterAndScorer(any Filter, any Scorer)
    case prefixCacheScorer(PrefixCacheScorer, PrefixCacheDemand)
    case picker(any Picker)
    case profileHandler(any ProfileHandler, allowsSeveralProfiles: Bool)
    case decider(any DisaggregationDecider)
    case prefixCache(PrefixCacheSettings)
    case inFlightLoad(InFlightLoad)
    case sessionProducer(SessionRegistry)
    case tokenProducer(TokenProducerSettings)
    /// Which labels say where endpoints stand.
    case topologyExtractor(Topology.Labels)
    /// Response headers tell which endpoint served.
    case servedVerifier
    /// Refers to other instances: made when they are.
    case needsOthers(@Sendable (PluginLookup) -> PluginInstance)
    case metricsSource(MetricsSourceSettings)
    case metricsExtractor(MetricsExtractorSettings)
    case parser
    case discovery(DiscoverySettings)
    case saturationDetector(any SaturationDetector)
    case ordering(any OrderingPolicy)
    case fairness(any FairnessPolicy)
    case usageLimit(any UsageLimitPolicy)
    /// Does always what it asks for; there is nothing to wire.
    case builtIn(kind: String)
    /// Known, but of a later version, or with wrong parameters: what is wrong has been said.
    case unusable

    /// For messages: `a scorer`.
    var kind: String {
        switch self {
        case .filter: "a filter"
        case .scorer, .prefixCacheScorer, .filterAndScorer: "a scorer"
        case .picker: "a picker"
        case .profileHandler: "a profile handler"
        case .decider: "a decider"
        case .prefixCache, .inFlightLoad, .sessionProducer, .tokenProducer: "a data producer"
        case .servedVerifier: "a response plugin"
        case .metricsSource: "a data source"
        case .metricsExtractor, .topologyExtractor: "an extractor"
        case .parser: "a parser"
        case .discovery: "a discovery"
        case .saturationDetector: "a saturation detector"
        case .ordering: "an ordering policy"
        case .fairness: "a fairness policy"
        case .usageLimit: "a usage limit policy"
        case .builtIn(let kind): kind
        case .needsOthers, .unusable: "not usable"
        }
    }
}

/// The plugins and profiles of a configuration, for those that refer to them.
struct PluginLookup {
    let instances: [String: PluginInstance]
    let configuration: EndpointPickerConfiguration
    let diagnostics: Diagnostics
    /// Collects the names of the plugins that are referred to.
    let use: (String) -> Void

    func hasProfile(_ name: String) -> Bool {
        configuration.profiles.contains { $0.name == name }
    }

    /// The instance that a parameter names; nil when there is none, which has then been reported.
    func instance(_ name: String, at position: SourcePosition) -> PluginInstance? {
        use(name)
        if let instance = instances[name] { return instance }
        let hint = ClosestName.hint(for: name, among: instances.keys.sorted())
        diagnostics.error("no plugin is named \(quoted(name))\(hint)", at: position)
        return nil
    }

    /// Reports a name that no approx-prefix-cache-producer has. The type's own name is that of the one which is added when there is none.
    func checkPrefixProducer(_ name: String?, at position: SourcePosition) {
        guard let name else { return }
        let producers = instances.filter { if case .prefixCache = $0.value { true } else { false } }.keys.sorted()
        if producers.contains(name) || (producers.isEmpty && name == "approx-prefix-cache-producer") { return }
        let hint = ClosestName.hint(for: name, among: producers)
        diagnostics.error("no approx-prefix-cache-producer is named \(quoted(name))\(hint)", at: position)
    }

    /// Reports a name that no inflight-load-producer has.
    func checkInFlightProducer(_ name: String?, at position: SourcePosition) {
        guard let name else { return }
        let producers = instances.filter { if case .inFlightLoad = $0.value { true } else { false } }.keys.sorted()
        if producers.contains(name) || (producers.isEmpty && name == "inflight-load-producer") { return }
        let hint = ClosestName.hint(for: name, among: producers)
        diagnostics.error("no inflight-load-producer is named \(quoted(name))\(hint)", at: position)
    }
}

/// What a prefix-cache-scorer says of the producer that it reads from.
struct PrefixCacheDemand: Sendable {
    /// Of the producer that is added when the configuration has none.
    var settings: PrefixCacheSettings
    /// Whether the scorer itself has parameters of the producer.
    var hasSettings: Bool
    var producer: String?
    var producerPosition: SourcePosition
}

/// `metrics-data-source`: where the metrics pages are.
package struct MetricsSourceSettings: Sendable, Equatable {
    /// `http` or `https`; nil: what the flag says.
    package var scheme: String?
    package var path = "/metrics"
    /// Whether any certificate of an endpoint will do; nil: what the flag says.
    package var insecureSkipVerify: Bool?

    package init() {}
}

/// `core-metrics-extractor`: how the pages are read.
package struct MetricsExtractorSettings: Sendable, Equatable {
    /// The label that names an endpoint's engine, looked at before the usual ones.
    package var engineLabelKey = "inference.networking.k8s.io/engine-type"
    /// The engine of endpoints that name none.
    package var defaultEngine = "vllm"
    /// Engines that the configuration describes, by name, beside or instead of the known ones.
    package var engines: [String: EngineDialect] = [:]

    package init() {}
}
