internal import CEnvoyAPI

/// Headers that a reply sets (replacing what was there) and removes.
package struct HeaderMutation: Sendable {
    var text: [UInt8] = []
    var sets: [apus_header_range] = []
    var removals: [apus_header_range] = []

    package init() {}

    package var isEmpty: Bool { sets.isEmpty && removals.isEmpty }

    package mutating func set(_ name: String, _ value: String) {
        sets.append(text.appendRange(name, value))
    }

    package mutating func remove(_ name: String) {
        removals.append(text.appendRange(name, ""))
    }
}

/// Strings that Envoy attaches to the request under one namespace of its dynamic metadata.
package struct DynamicMetadata: Sendable {
    var text: [UInt8] = []
    var namespace: apus_header_range
    var entries: [apus_header_range] = []

    package init(namespace: String) {
        self.namespace = text.appendRange(namespace, "")
    }

    package var isEmpty: Bool { entries.isEmpty }

    package mutating func set(_ key: String, _ value: String) {
        entries.append(text.appendRange(key, value))
    }
}

extension [UInt8] {
    fileprivate mutating func appendRange(_ name: String, _ value: String) -> apus_header_range {
        let nameOffset = UInt32(truncatingIfNeeded: count)
        append(contentsOf: name.utf8)
        let valueOffset = UInt32(truncatingIfNeeded: count)
        append(contentsOf: value.utf8)
        return apus_header_range(
            name_offset: nameOffset,
            name_length: valueOffset - nameOffset,
            value_offset: valueOffset,
            value_length: UInt32(truncatingIfNeeded: count) - valueOffset
        )
    }
}
