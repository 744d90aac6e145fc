internal import Bytes

/// What a source of endpoints says of one model server.
package struct EndpointDescription: Hashable, Sendable {
    package var name: String
    package var namespace: String
    /// An IP address or a host name, without brackets.
    package var address: String
    package var port: Int
    package var labels: [String: String]

    package init(name: String, namespace: String, address: String, port: Int, labels: [String: String] = [:]) {
        self.name = name
        self.namespace = namespace
        self.address = address
        self.port = port
        self.labels = labels
    }

    package var identity: EndpointIdentity {
        EndpointIdentity(namespace: namespace, name: name)
    }
}

/// What makes two descriptions the same endpoint.
package struct EndpointIdentity: Hashable, Sendable {
    package let namespace: String
    package let name: String

    package init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }
}

/// One model server of the pool. The object is shared by every snapshot in which the endpoint appears unchanged.
package final class Endpoint: Sendable {
    package let identity: EndpointIdentity
    package let address: String
    package let port: Int
    package let labels: [String: String]
    /// `address:port`, an IPv6 address in brackets: what goes into `x-gateway-destination-endpoint`.
    package let hostPort: String
    /// Of `hostPort`: the same in every process that knows this endpoint.
    package let hash: UInt64
    /// Unique for the life of the process and never used again; dense enough to index tables by it.
    package let number: Int
    /// What Apus itself has sent here and has not seen end.
    package let load: EndpointLoad
    /// What Apus's own sub-requests found of whether it can be reached.
    package let breaker: Breaker
    let watch: PoolWatch

    init(
        _ description: EndpointDescription,
        number: Int,
        load: EndpointLoad,
        breaker: Breaker = Breaker(),
        watch: PoolWatch
    ) {
        identity = description.identity
        address = description.address
        port = description.port
        labels = description.labels
        hostPort = Self.hostPort(address: description.address, port: description.port)
        hash = XXH3.hash(hostPort)
        self.number = number
        self.load = load
        self.breaker = breaker
        self.watch = watch
    }

    package static func hostPort(address: String, port: Int) -> String {
        address.utf8.contains(UInt8(ascii: ":")) ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    var description: EndpointDescription {
        EndpointDescription(
            name: identity.name,
            namespace: identity.namespace,
            address: address,
            port: port,
            labels: labels
        )
    }
}
