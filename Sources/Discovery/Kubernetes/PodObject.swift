internal import Bytes
package import Pool

/// A pod, as far as it matters for where requests go.
package struct PodObject: KubernetesObject {
    /// The second is the older name.
    package static let annotations = ["llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"]

    package let metadata: ObjectMetadata
    package let address: String
    /// Whether its condition Ready is True and nobody has asked for its end.
    package let isReady: Bool

    package init?(_ metadata: ObjectMetadata, _ object: KubernetesObjectBody) {
        self.metadata = metadata
        let status = object.status?.members("podIP", "conditions", "phase") ?? [nil, nil, nil]
        address = status[0]?.string ?? ""
        let ready = status[1]?.elements.first { $0["type"]?.string == "Ready" }
        isReady = !metadata.isBeingDeleted && ready?["status"]?.string == "True"
    }

    /// The pod's endpoints on these ports, one for each that it serves: none while it is not ready or has no address.
    ///
    /// Their `rank` counts the pool's ports from 0, served or not.
    package func endpoints(on ports: [Int]) -> [EndpointDescription] {
        guard isReady, EndpointAddress.isLiteral(address) else { return [] }
        let active = activePorts
        return ports.enumerated().compactMap { rank, port in
            guard active?.contains(port) ?? true else { return nil }
            return EndpointDescription(
                name: Self.endpointName(metadata.name, rank: rank),
                namespace: metadata.namespace,
                address: address,
                port: port,
                labels: metadata.labels
            )
        }
    }

    static func endpointName(_ pod: String, rank: Int) -> String { "\(pod)-rank-\(rank)" }

    /// The ports that an annotation names; nil when none does. What is no number in it is passed over.
    private var activePorts: [Int]? {
        let text = Self.annotations.lazy.compactMap { metadata.annotations[$0] }.first
        return text?.split(separator: ",").compactMap { Int(ASCII.trimmed($0)) }
    }
}
