/// An `InferencePool` of `inference.networking.k8s.io/v1`, or of the older `inference.networking.x-k8s.io/v1alpha2`.
package struct InferencePoolObject: KubernetesObject {
    package let metadata: ObjectMetadata
    /// Which pods are its endpoints.
    package let selector: LabelSelector
    /// Without repetitions.
    package let targetPorts: [Int]
    /// `http` or `kubernetes.io/h2c`.
    package let appProtocol: String

    package init?(_ metadata: ObjectMetadata, _ object: KubernetesObjectBody) {
        guard let spec = object.spec?.members("selector", "targetPorts", "appProtocol", "targetPortNumber"),
            // The older kind has one port, and labels without anything around them.
            let labels = spec[3] == nil ? spec[0]?["matchLabels"] : spec[0], labels.isObject
        else { return nil }
        var ports: [Int] = []
        for number in spec[3].map({ [$0] }) ?? (spec[1]?.elements ?? []).map({ $0["number"] }) {
            guard let port = number?.integer, EndpointAddress.ports.contains(port), ports.count < 8 else {
                return nil
            }
            if !ports.contains(port) { ports.append(port) }
        }
        guard !ports.isEmpty else { return nil }
        self.metadata = metadata
        selector = LabelSelector(matching: labels.stringMap)
        targetPorts = ports
        appProtocol = spec[2]?.string ?? "http"
    }

    /// The version that pools of a group have.
    static func version(of group: String) -> String {
        group == "inference.networking.x-k8s.io" ? "v1alpha2" : "v1"
    }
}

/// Which pools an object is for.
package struct PoolReferences: Sendable, Equatable {
    private let names: [String]
    private let selector: LabelSelector?

    /// Reads `poolRef`, `poolRefs` and `poolSelector` of a spec.
    init(_ spec: JSONNode?) {
        let members = spec?.members("poolRef", "poolRefs", "poolSelector") ?? [nil, nil, nil]
        names = ([members[0]].compactMap(\.self) + (members[1]?.elements ?? [])).compactMap { $0["name"]?.string }
        selector = members[2].map { LabelSelector(selectorObject: $0) }
    }

    /// - Parameters:
    ///   - pool: the pool's name; nil where there is no pool, whose every object then counts.
    func includes(pool: String?, labels: [String: String]) -> Bool {
        guard let pool else { return true }
        return names.contains(pool) || selector?.matches(labels) ?? false
    }
}

extension LabelSelector {
    /// A selector as objects hold it: `matchLabels` and `matchExpressions`. An expression that makes no sense matches nothing.
    init(selectorObject node: JSONNode) {
        let members = node.members("matchLabels", "matchExpressions")
        var requirements = LabelSelector(matching: members[0]?.stringMap ?? [:]).requirements
        for expression in members[1]?.elements ?? [] {
            let parts = expression.members("key", "operator", "values")
            let values = parts[2]?.elements.compactMap(\.string) ?? []
            let relations: [String: Operator] = [
                "In": .isIn, "NotIn": .notIn, "Exists": .exists, "DoesNotExist": .absent,
            ]
            let relation = parts[1]?.string.flatMap { relations[$0] }
            requirements.append(
                Requirement(
                    key: parts[0]?.string ?? "",
                    relation: relation ?? .isIn,
                    values: relation == nil ? [] : values
                )
            )
        }
        self.init(requirements)
    }
}
