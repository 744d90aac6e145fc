private import Bytes
package import Configuration
package import Pool

/// The file that lists a pool's endpoints, in YAML or JSON:
///
///     endpoints:
///     - {name: vllm-0, namespace: prod, address: 10.0.0.7, port: 8000, labels: {llm-d.ai/role: prefill}}
///
/// `name`, `address` and `port` are needed; `address` is an IPv4 or IPv6 literal or a host name, `port` a number or a number in quotes. Two
/// endpoints with one namespace and name, or with one address and port, are an error. An empty pool is `endpoints: []`: a file that ends
/// before its list is an error, so that one caught while it is being written does not empty the pool.
package enum EndpointsFile {
    /// The endpoints in the order of the file, or nil when something is wrong, all of which goes to `diagnostics`.
    ///
    /// - Parameter namespace: of the endpoints that name none.
    package static func parse(
        _ text: [UInt8],
        namespace: String = "default",
        _ diagnostics: Diagnostics
    ) -> [EndpointDescription]? {
        guard let root = YAMLDocument.parse(text, diagnostics) else { return nil }
        var fields = Fields(root, diagnostics)
        let nodes = fields.list("endpoints")
        fields.reportMissing("endpoints")
        fields.finish()
        var reader = Reader(namespace: namespace, diagnostics: diagnostics)
        let endpoints = nodes.compactMap { reader.endpoint($0) }
        return diagnostics.hasErrors ? nil : endpoints
    }

    private struct Reader {
        let namespace: String
        let diagnostics: Diagnostics
        /// The lines on which names and addresses were first seen.
        private var names: [EndpointIdentity: Int] = [:]
        private var places: [String: Int] = [:]

        init(namespace: String, diagnostics: Diagnostics) {
            self.namespace = namespace
            self.diagnostics = diagnostics
        }

        mutating func endpoint(_ node: YAMLNode) -> EndpointDescription? {
            var fields = Fields(node, diagnostics)
            let name = fields.string("name")
            let namespace = fields.string("namespace") ?? namespace
            let address = fields.string("address")
            let port = fields.integer("port", in: EndpointAddress.ports, orText: true)
            let labels = fields.stringMap("labels")
            fields.finish()
            for key in ["name", "address", "port"] { fields.reportMissing(key) }
            if let address, !address.isEmpty, let problem = EndpointAddress.problem(address) {
                diagnostics.error(problem, at: fields.position(of: "address"))
            }
            guard let name, !name.isEmpty, let address, !address.isEmpty, let port else { return nil }
            let endpoint = EndpointDescription(
                name: name,
                namespace: namespace,
                address: address,
                port: port,
                labels: labels
            )
            reportDuplicates(endpoint, fields)
            return endpoint
        }

        private mutating func reportDuplicates(_ endpoint: EndpointDescription, _ fields: Fields) {
            let line = fields.position.line
            if let first = names[endpoint.identity] {
                let name = quoted("\(endpoint.namespace)/\(endpoint.name)")
                diagnostics.error(
                    "an endpoint \(name) exists already, on line \(first)",
                    at: fields.position(of: "name")
                )
            } else {
                names[endpoint.identity] = line
            }
            let place = Endpoint.hostPort(address: ASCII.lowercased(endpoint.address), port: endpoint.port)
            if let first = places[place] {
                let message = "an endpoint at \(quoted(place)) exists already, on line \(first)"
                diagnostics.error(message, at: fields.position(of: "address"))
            } else {
                places[place] = line
            }
        }
    }
}
