/// What makes two objects of one kind the same.
package struct ObjectKey: Hashable, Sendable {
    package let namespace: String
    package let name: String

    package init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }
}

/// The members that every object has.
package struct ObjectMetadata: Sendable, Equatable {
    package let name: String
    package let namespace: String
    package let uid: String
    package let resourceVersion: String
    /// RFC 3339 in UTC, so that texts compare as times do; "" when absent.
    package let creationTimestamp: String
    /// Whether somebody has asked for its end.
    package let isBeingDeleted: Bool
    package let labels: [String: String]
    package let annotations: [String: String]

    package var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }

    /// The resource version as a number, as servers write it; nil when it is something else, which then cannot be compared.
    package var version: UInt64? { UInt64(resourceVersion) }

    /// - Parameter annotations: the names of those that are kept; the rest may be long.
    init?(_ node: JSONNode?, annotations wanted: [String]) {
        guard let node else { return nil }
        let members = node.members(
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "labels",
            "annotations"
        )
        guard let name = members[0]?.string, !name.isEmpty else { return nil }
        self.name = name
        namespace = members[1]?.string ?? ""
        uid = members[2]?.string ?? ""
        resourceVersion = members[3]?.string ?? ""
        creationTimestamp = members[4]?.string ?? ""
        isBeingDeleted = members[5] != nil
        labels = members[6]?.stringMap ?? [:]
        annotations =
            wanted.isEmpty ? [:] : members[7]?.stringMap.filter { wanted.contains($0.key) } ?? [:]
    }
}

/// What is kept of an object.
package protocol KubernetesObject: Sendable {
    /// The annotations that `init` wants to see.
    static var annotations: [String] { get }

    var metadata: ObjectMetadata { get }

    /// Nil when the object lacks what makes it one of its kind.
    init?(_ metadata: ObjectMetadata, _ object: KubernetesObjectBody)
}

extension KubernetesObject {
    package static var annotations: [String] { [] }
}

/// The rest of an object: `spec` and `status`.
package struct KubernetesObjectBody {
    let spec: JSONNode?
    let status: JSONNode?
}

extension KubernetesObject {
    /// Reads an object; nil when it is none.
    init?(_ node: JSONNode) {
        let members = node.members("metadata", "spec", "status")
        guard let metadata = ObjectMetadata(members[0], annotations: Self.annotations) else { return nil }
        self.init(metadata, KubernetesObjectBody(spec: members[1], status: members[2]))
    }
}

/// Where objects of one kind are found.
package struct KubernetesCollection: Sendable, Equatable {
    /// Such as `/api/v1/namespaces/default/pods`.
    package let path: String
    package let fieldSelector: String?
    package let labelSelector: String?

    /// - Parameters:
    ///   - group: "" for the core group.
    ///   - name: of the kind, in the plural: `pods`.
    package init(
        group: String,
        version: String,
        namespace: String,
        name: String,
        fieldSelector: String? = nil,
        labelSelector: String? = nil
    ) {
        let root = group.isEmpty ? "/api/\(version)" : "/apis/\(Query.escaped(group))/\(version)"
        path = "\(root)/namespaces/\(Query.escaped(namespace))/\(name)"
        self.fieldSelector = fieldSelector
        self.labelSelector = labelSelector
    }

    func query() -> Query {
        var query = Query()
        query.add("fieldSelector", fieldSelector)
        query.add("labelSelector", labelSelector)
        return query
    }
}
