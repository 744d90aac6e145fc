internal import Admission
internal import Configuration
internal import Discovery
internal import Scheduling

/// What a plugin type makes of its parameters.
enum PluginInstance: Sendable {
    case filter(any Filter)
    case scorer(any Scorer)
    case prefixCacheScorer(PrefixCacheScorer, PrefixCacheDemand)
    case picker(any Picker)
    case profileHandler(any ProfileHandler, allowsSeveralProfiles: Bool)
    case prefixCache(PrefixCacheSettings)
    case metricsSource(MetricsSourceSettings)
    case metricsExtractor(MetricsExtractorSettings)
    case parser
    case fileDiscovery(FileDiscoverySettings)
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
        case .scorer, .prefixCacheScorer: "a scorer"
        case .picker: "a picker"
        case .profileHandler: "a profile handler"
        case .prefixCache: "a data producer"
        case .metricsSource: "a data source"
        case .metricsExtractor: "an extractor"
        case .parser: "a parser"
        case .fileDiscovery: "a discovery"
        case .saturationDetector: "a saturation detector"
        case .ordering: "an ordering policy"
        case .fairness: "a fairness policy"
        case .usageLimit: "a usage limit policy"
        case .builtIn(let kind): kind
        case .unusable: "not usable"
        }
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
    /// `http` or `https`.
    package var scheme = "http"
    package var path = "/metrics"
    package var insecureSkipVerify = true

    package init() {}
}

/// `core-metrics-extractor`: how the pages are read.
package struct MetricsExtractorSettings: Sendable, Equatable {
    /// The label that names an endpoint's engine, looked at before the usual ones.
    package var engineLabelKey = "inference.networking.k8s.io/engine-type"
    /// The engine of endpoints that name none.
    package var defaultEngine = "vllm"

    package init() {}
}
