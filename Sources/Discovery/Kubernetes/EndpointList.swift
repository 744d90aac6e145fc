internal import Pool

/// The endpoints of pods, sorted by name, kept up to date pod by pod.
struct EndpointList {
    /// What makes endpoints of pods.
    struct Rules: Equatable {
        /// Which pods count; nil for all.
        let selector: LabelSelector?
        /// Each may be an endpoint of a pod.
        let ports: [Int]

        fileprivate func endpoints(of pod: PodObject) -> [EndpointDescription] {
            selector?.matches(pod.metadata.labels) ?? true ? pod.endpoints(on: ports) : []
        }
    }

    let rules: Rules
    private(set) var endpoints: [EndpointDescription]

    init(of pods: some Sequence<PodObject>, _ rules: Rules) {
        self.rules = rules
        endpoints = pods.flatMap { rules.endpoints(of: $0) }
        endpoints.sort { Self.order($0) < Self.order($1) }
    }

    /// Takes over what a pod is now, nil when it is gone; true when that changed the list.
    mutating func update(_ key: ObjectKey, _ pod: PodObject?) -> Bool {
        let now = pod.map(rules.endpoints) ?? []
        var isChanged = false
        for rank in rules.ports.indices {
            let name = PodObject.endpointName(key.name, rank: rank)
            isChanged = replace((name, key.namespace), with: now.first { $0.name == name }) || isChanged
        }
        return isChanged
    }

    private mutating func replace(_ place: (String, String), with endpoint: EndpointDescription?) -> Bool {
        let position = position(of: place)
        let isThere = position < endpoints.count && Self.order(endpoints[position]) == place
        switch endpoint {
        case let endpoint? where isThere:
            guard endpoints[position] != endpoint else { return false }
            endpoints[position] = endpoint
        case let endpoint?: endpoints.insert(endpoint, at: position)
        case nil where isThere: endpoints.remove(at: position)
        case nil: return false
        }
        return true
    }

    /// Where an endpoint of this name and namespace is, or would be.
    private func position(of place: (String, String)) -> Int {
        var low = 0
        var high = endpoints.count
        while low < high {
            let middle = (low + high) / 2
            if Self.order(endpoints[middle]) < place { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func order(_ endpoint: EndpointDescription) -> (String, String) {
        (endpoint.name, endpoint.namespace)
    }
}
