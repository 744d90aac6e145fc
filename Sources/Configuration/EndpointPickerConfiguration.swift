/// What an `EndpointPickerConfig` says, with the places where it says it. Names are checked against each other; what the plugins make of
/// their parameters is checked by the registry.
package struct EndpointPickerConfiguration: Sendable {
    package enum APIVersion: String, Sendable, CaseIterable {
        case gatewayAPIInferenceExtension = "inference.networking.x-k8s.io/v1alpha1"
        case llmd = "llm-d.ai/v1alpha1"
    }

    /// An instance of a plugin.
    package struct Plugin: Sendable {
        /// The type, unless the file gives a name.
        package var name: String
        package var type: String
        /// A mapping; nil when there is none.
        package var parameters: YAMLNode?
        package var position: SourcePosition
        package var typePosition: SourcePosition

        package init(
            name: String? = nil,
            type: String,
            parameters: YAMLNode? = nil,
            position: SourcePosition = .start,
            typePosition: SourcePosition = .start
        ) {
            self.name = name ?? type
            self.type = type
            self.parameters = parameters
            self.position = position
            self.typePosition = typePosition
        }
    }

    /// The name of a plugin instance, where it is used.
    package struct Reference: Sendable {
        package var name: String
        package var position: SourcePosition

        package init(_ name: String, at position: SourcePosition = .start) {
            self.name = name
            self.position = position
        }
    }

    package struct ProfilePlugin: Sendable {
        package var plugin: Reference
        /// Of a scorer; nil when the file gives none.
        package var weight: Double?
        package var weightPosition: SourcePosition

        package init(_ plugin: Reference, weight: Double? = nil, weightPosition: SourcePosition = .start) {
            self.plugin = plugin
            self.weight = weight
            self.weightPosition = weightPosition
        }
    }

    package struct Profile: Sendable {
        package var name: String
        package var plugins: [ProfilePlugin]
        package var position: SourcePosition

        package init(name: String, plugins: [ProfilePlugin], position: SourcePosition = .start) {
            self.name = name
            self.plugins = plugins
            self.position = position
        }
    }

    package struct DataLayer: Sendable {
        package struct Source: Sendable {
            package var plugin: Reference
            package var extractors: [Reference]
        }

        package var sources: [Source] = []
        package var discovery: Reference?
        /// Whether the metrics source is added when `sources` does not name one.
        package var injectDefaults = true
    }

    /// How much of the responses is looked at.
    package enum ResponseProcessing: String, Sendable, CaseIterable {
        /// All of it.
        case full
        /// The beginning and the end of a stream of events, where its usage is.
        case tail
        /// Headers only, where the gateway can be asked to keep bodies to itself; else as `tail`.
        case headers
    }

    /// How requests wait; counts only with the gate `flowControl`. Nil members are not in the file.
    package struct FlowControl: Sendable {
        package struct Band: Sendable {
            package var priority = 0
            package var maxRequests: Int?
            /// Bytes.
            package var maxBytes: Int?
            package var fairnessPolicy: Reference?
            package var orderingPolicy: Reference?
        }

        /// 0 is no limit.
        package var maxRequests: Int?
        /// Bytes; 0 is no limit.
        package var maxBytes: Int?
        /// Zero is as long as the client waits.
        package var defaultRequestTTL: Duration?
        package var noEndpointRequestTTL: Duration?
        package var defaultPriorityBand: Band?
        package var defaultNegativePriorityBand: Band?
        package var priorityBands: [Band] = []
        package var usageLimitPolicy: Reference?
        package var enablesEviction = false
    }

    package struct FeatureGate: Sendable {
        package var name: String
        package var isEnabled: Bool
        package var position: SourcePosition
    }

    package var file: String
    package var apiVersion = APIVersion.llmd
    package var featureGates: [FeatureGate] = []
    package var plugins: [Plugin] = []
    package var profiles: [Profile] = []
    package var saturationDetector: Reference?
    /// Nil when the file does not speak of it.
    package var flowControl: FlowControl?
    package var parsers: [Reference] = []
    package var responseProcessing = ResponseProcessing.full
    /// Nil when the file does not speak of it.
    package var dataLayer: DataLayer?
    package var objectives: [InferenceObjective] = []
    /// The first has precedence.
    package var modelRewrites: [InferenceModelRewrite] = []
    /// Who runs the encode and prefill steps of a request; read where the setup is assembled. Nil when the file does not speak of it.
    package var orchestration: YAMLNode?

    package init(file: String) {
        self.file = file
    }

    /// Whether a gate is on; where it is named more than once, the last counts.
    package func isEnabled(_ gate: String) -> Bool {
        featureGates.last { $0.name == gate }?.isEnabled ?? false
    }

    /// What counts when no configuration is given: prefill-cost-scorer.
    package static let builtIn: EndpointPickerConfiguration = {
        var configuration = EndpointPickerConfiguration(file: "built-in configuration")
        let weights = [("prefill-cost-scorer", 1.0)]
        configuration.plugins = weights.map { Plugin(type: $0.0) }
        configuration.profiles = [
            Profile(name: "default", plugins: weights.map { ProfilePlugin(Reference($0.0), weight: $0.1) })
        ]
        return configuration
    }()
}
