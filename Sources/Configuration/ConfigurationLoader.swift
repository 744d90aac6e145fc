/// Reads an `EndpointPickerConfig`. Strict: what is unknown, misspelt or of the wrong type is an error, and everything is said at once.
package enum ConfigurationLoader {
    /// A pure function over bytes.
    ///
    /// - Parameter file: what to call the text in diagnostics.
    /// - Returns: the configuration, or nil when there are errors; and everything found, in the order of the text.
    package static func load(
        text: [UInt8],
        file: String
    ) -> (configuration: EndpointPickerConfiguration?, diagnostics: [Diagnostic]) {
        let diagnostics = Diagnostics(file: file)
        let configuration = load(text: text, diagnostics)
        return (diagnostics.hasErrors ? nil : configuration, diagnostics.all)
    }

    /// As far as it can be read; errors are in `diagnostics`. For those who have more to check and want to say it all at once.
    package static func load(text: [UInt8], _ diagnostics: Diagnostics) -> EndpointPickerConfiguration? {
        guard let root = YAMLDocument.parse(text, diagnostics) else { return nil }
        if root.isNull {
            diagnostics.error("the file is empty", at: root.position)
            return nil
        }
        var reader = ConfigurationReader(root, diagnostics)
        return reader.read()
    }
}

/// Reads the top level; the sections have extensions of their own.
struct ConfigurationReader {
    /// Elements of any list, so that what is made of a file takes a time in proportion to it.
    static let listLimit = 1_000

    let diagnostics: Diagnostics
    private var fields: Fields

    init(_ root: YAMLNode, _ diagnostics: Diagnostics) {
        self.diagnostics = diagnostics
        fields = Fields(root, diagnostics)
    }

    mutating func read() -> EndpointPickerConfiguration {
        var configuration = EndpointPickerConfiguration(file: diagnostics.file)
        readHeader(&configuration)
        configuration.featureGates = fields.list("featureGates", limit: Self.listLimit).compactMap { featureGate($0) }
        configuration.plugins = plugins(fields.list("plugins", limit: Self.listLimit))
        let names = Set(configuration.plugins.map(\.name))
        configuration.profiles = profiles(fields.list("schedulingProfiles", limit: Self.listLimit), names)
        readSaturationDetector(&configuration, names)
        readParsers(&configuration, names)
        configuration.dataLayer = dataLayer(names)
        if var section = fields.mapping("flowControl") {
            configuration.flowControl = flowControl(&section, &configuration, names)
            // The detector counts without the gate, too: it says when a sheddable request is dropped.
            if !configuration.isEnabled("flowControl"), section.keys != ["saturationDetector"] {
                diagnostics.warning(
                    "flowControl has no effect without the feature gate \"flowControl\"",
                    at: fields.keyPosition(of: "flowControl")
                )
            }
        }
        configuration.objectives = objectives(fields.list("objectives", limit: Self.listLimit))
        configuration.modelRewrites = modelRewrites(fields.list("modelRewrites", limit: Self.listLimit))
        configuration.orchestration = fields.node("orchestration")
        readResponseProcessing(&configuration)
        fields.finish()
        return configuration
    }

    private mutating func readHeader(_ configuration: inout EndpointPickerConfiguration) {
        let versions = EndpointPickerConfiguration.APIVersion.allCases.map(\.rawValue)
        fields.reportMissing("apiVersion")
        fields.reportMissing("kind")
        if let text = fields.string("apiVersion", oneOf: versions) {
            configuration.apiVersion = EndpointPickerConfiguration.APIVersion(rawValue: text) ?? .llmd
        }
        _ = fields.string("kind", oneOf: ["EndpointPickerConfig"])
    }

    private mutating func readResponseProcessing(_ configuration: inout EndpointPickerConfiguration) {
        let all = EndpointPickerConfiguration.ResponseProcessing.allCases
        guard let text = fields.string("responseProcessing", oneOf: all.map(\.rawValue)) else { return }
        configuration.responseProcessing = .init(rawValue: text) ?? configuration.responseProcessing
    }

    // MARK: Feature gates

    private static let gates: [String: String] = [
        "flowControl": "",
        "dataLayer": "has been on for good since it left its trial",
        "enableLegacyMetrics": "has no effect: there is one way of reading metrics",
        "haPopulateNonLeaderDatastore": "has no effect without Kubernetes",
    ]

    /// `name` or `name=BOOLEAN`.
    private func featureGate(_ node: YAMLNode) -> EndpointPickerConfiguration.FeatureGate? {
        guard let text = node.text else {
            diagnostics.error("a feature gate must be a text, not \(node.kind)", at: node.position)
            return nil
        }
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let note = Self.gates[parts[0]] else {
            let hint = ClosestName.hint(for: parts[0], among: Self.gates.keys.sorted())
            diagnostics.error("unknown feature gate \(quoted(parts[0]))\(hint)", at: node.position)
            return nil
        }
        var isEnabled = true
        if parts.count == 2 {
            switch parts[1].lowercased() {
            case "true", "t", "1": isEnabled = true
            case "false", "f", "0": isEnabled = false
            default:
                diagnostics.error(
                    "feature gate \(quoted(parts[0])) must be true or false, not \(quoted(parts[1]))",
                    at: node.position
                )
                return nil
            }
        }
        if !note.isEmpty { diagnostics.warning("feature gate \(quoted(parts[0])) \(note)", at: node.position) }
        return EndpointPickerConfiguration.FeatureGate(name: parts[0], isEnabled: isEnabled, position: node.position)
    }

    // MARK: Sections with deprecated forms

    private mutating func readSaturationDetector(
        _ configuration: inout EndpointPickerConfiguration,
        _ names: Set<String>
    ) {
        guard let node = fields.node("saturationDetector") else { return }
        if configuration.apiVersion == .llmd {
            diagnostics.warning(
                "saturationDetector is deprecated here: it belongs into flowControl",
                at: fields.keyPosition(of: "saturationDetector")
            )
        }
        configuration.saturationDetector = reference(in: node, names)
    }

    private mutating func readParsers(_ configuration: inout EndpointPickerConfiguration, _ names: Set<String>) {
        if let node = fields.node("parser") {
            if configuration.apiVersion == .llmd {
                diagnostics.warning(
                    "parser is deprecated: use requestHandler.parsers",
                    at: fields.keyPosition(of: "parser")
                )
            }
            configuration.parsers += reference(in: node, names).map { [$0] } ?? []
        }
        guard var handler = fields.mapping("requestHandler") else { return }
        configuration.parsers += handler.list("parsers", limit: Self.listLimit).compactMap { reference(in: $0, names) }
        handler.finish()
    }

    // MARK: Data layer

    private mutating func dataLayer(_ names: Set<String>) -> EndpointPickerConfiguration.DataLayer? {
        guard var section = fields.mapping("dataLayer") else { return nil }
        var layer = EndpointPickerConfiguration.DataLayer()
        layer.injectDefaults = section.bool("injectDefaults") ?? true
        layer.discovery = section.node("discovery").flatMap { reference(in: $0, names) }
        for node in section.list("sources", limit: Self.listLimit) {
            var source = Fields(node, diagnostics)
            let plugin = reference(&source, names)
            let extractors = source.list("extractors", limit: Self.listLimit).compactMap { reference(in: $0, names) }
            source.finish()
            if let plugin {
                layer.sources.append(
                    EndpointPickerConfiguration.DataLayer.Source(plugin: plugin, extractors: extractors)
                )
            }
        }
        for key in ["peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"] {
            section.unavailable(key)
        }
        section.finish()
        return layer
    }
}
