internal import Configuration
internal import Scheduling

/// Parameters that several plugin types have.
extension PluginRegistry {
    /// A number of endpoints, by name.
    static func endpointAttribute(_ key: String, _ parameters: inout Fields) -> EndpointAttribute? {
        let names = EndpointAttribute.allCases.map(\.rawValue)
        parameters.reportMissing(key)
        return parameters.string(key, oneOf: names).flatMap { EndpointAttribute(rawValue: $0) }
    }

    /// Makes an instance that compares places: with the header that tells of an endpoint which another picker picked, and the labels that the
    /// topology-extractor names. The one that is referred to, or else the only one there is.
    static func readingTopology(
        _ parameters: inout Fields,
        _ make: @escaping @Sendable (_ peerHeader: String?, Topology.Labels) -> PluginInstance
    ) -> PluginInstance {
        let header = parameters.nonEmptyString("peerTopologyHeader")
        let producer = parameters.nonEmptyString("topologyProducerName")
        let position = parameters.position(of: "topologyProducerName")
        return .needsOthers { lookup in
            var extractors: [String: Topology.Labels] = [:]
            for (name, instance) in lookup.instances {
                if case .topologyExtractor(let labels) = instance { extractors[name] = labels }
            }
            // The type's own name is that of the one which reads the usual labels.
            let name = producer ?? (extractors.count == 1 ? extractors.keys.first : nil) ?? "topology-extractor"
            if let labels = extractors[name] {
                lookup.use(name)
                return make(header, labels)
            }
            if name != "topology-extractor" {
                let hint = ClosestName.hint(for: name, among: extractors.keys.sorted())
                lookup.diagnostics.error("no topology-extractor is named \(quoted(name))\(hint)", at: position)
            }
            return make(header, Topology.Labels())
        }
    }

    /// Checks the name of the producer that an instance reads the load from, if it is given; the load itself is always there.
    static func readingInFlightLoad(_ parameters: inout Fields, _ instance: PluginInstance) -> PluginInstance {
        guard let producer = parameters.string("inFlightLoadProducerName") else { return instance }
        let position = parameters.position(of: "inFlightLoadProducerName")
        return .needsOthers { lookup in
            lookup.checkInFlightProducer(producer, at: position)
            return instance
        }
    }

    /// Accepts a parameter that means nothing here, and says so.
    static func warnWithoutEffect(_ key: String, _ parameters: inout Fields, _ reason: String = "") {
        guard parameters.node(key) != nil else { return }
        parameters.diagnostics.warning(
            "parameter \(quoted(key)) has no effect" + (reason.isEmpty ? "" : ": \(reason)"),
            at: parameters.keyPosition(of: key)
        )
    }
}

extension Fields {
    /// A text with something in it; an empty one is an error.
    mutating func nonEmptyString(_ key: String) -> String? {
        guard let text = string(key) else { return nil }
        if !text.isEmpty { return text }
        diagnostics.error("parameter \(quoted(key)) must not be empty", at: position(of: key))
        return nil
    }
}
