internal import Inference

/// What a lease says of its holder.
struct LeaseRecord: Equatable {
    /// "" for nobody.
    var holder: String
    /// How long the lease lasts after each renewal.
    var seconds: Int
    var transitions: Int
    var acquired: String
    /// As it was read; not written.
    var renewed = ""
}

/// A `Lease` of `coordination.k8s.io/v1`: its record, and the rest as it was read, so that writing changes nothing else.
struct Lease {
    let record: LeaseRecord
    private let text: [UInt8]
    /// Where `spec` lies in `text`.
    private let specification: Range<Int>

    /// One that does not exist yet.
    init(name: String, namespace: String) {
        record = LeaseRecord(holder: "", seconds: 0, transitions: 0, acquired: "")
        var text = Array(#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"#.utf8)
        text +=
            JSONValue.quoted(name) + Array(#","namespace":"#.utf8) + JSONValue.quoted(namespace)
            + Array(#"},"spec":"#.utf8)
        specification = text.count..<text.count
        self.text = text + Array("}".utf8)
    }

    init(_ bytes: [UInt8]) throws(KubernetesError) {
        guard let tree = try? JSONTree(bytes), tree.root["metadata"] != nil, let node = tree.root["spec"] else {
            throw KubernetesError(.malformed, "a lease without a spec")
        }
        text = bytes
        specification = node.range
        let spec = node.members(
            "holderIdentity",
            "leaseDurationSeconds",
            "leaseTransitions",
            "acquireTime",
            "renewTime"
        )
        record = LeaseRecord(
            holder: spec[0]?.string ?? "",
            seconds: spec[1]?.integer ?? 0,
            transitions: max(0, spec[2]?.integer ?? 0),
            acquired: spec[3]?.string ?? "",
            renewed: spec[4]?.string ?? ""
        )
    }

    /// The object with another record.
    func text(with record: LeaseRecord, renewed: String) -> [UInt8] {
        var spec = Array("{".utf8)
        // The API takes no empty holder.
        if !record.holder.isEmpty {
            spec += Array(#""holderIdentity":"#.utf8) + JSONValue.quoted(record.holder) + [0x2C]
        }
        spec += #""leaseDurationSeconds":\#(record.seconds),"leaseTransitions":\#(record.transitions),"#.utf8
        if !record.acquired.isEmpty {
            spec += Array(#""acquireTime":"#.utf8) + JSONValue.quoted(record.acquired) + [0x2C]
        }
        spec += Array(#""renewTime":"#.utf8) + JSONValue.quoted(renewed) + Array("}".utf8)
        return Array(text[..<specification.lowerBound]) + spec + Array(text[specification.upperBound...])
    }
}
