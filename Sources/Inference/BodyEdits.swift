package import Bytes

/// Changes to a JSON body, applied as splices: every byte that is not named by an edit survives.
///
/// Members are named, at the top level by `RequestMembers.Name` and below it by the path to them. Of several edits of one member the last
/// counts. A member that the body has several times is edited as one: what is removed is gone altogether, what is set stands there once.
/// Commas are taken care of. Edits may be made before the body is at hand; they are resolved when they are applied.
package struct BodyEdits: Sendable {
    struct Splice: Sendable {
        let range: Range<Int>
        let replacement: [UInt8]
    }

    /// A member that is edited, of the body or of an object in it.
    struct Edit: Sendable {
        let name: String
        /// Where the body has the member, if that is known; nil for one that it does not have, or below the top level.
        var location: JSONMember?
        var change: Change
    }

    indirect enum Change: Sendable {
        /// - Parameter onlyWherePresent: whether a body without the member stays without it.
        case value([UInt8], onlyWherePresent: Bool)
        case removed
        /// Edits within the member's object.
        case members([Edit])
    }

    private var edits: [Edit] = []
    /// Values that are replaced wherever they stand.
    private var replacements: [Splice] = []
    private var removals: [Range<Int>] = []

    package init() {}

    package var isEmpty: Bool { edits.isEmpty && replacements.isEmpty && removals.isEmpty }

    // MARK: Of places

    /// Replaces a value, which must be JSON (`JSONValue.quoted` makes a string). The range is that of a value in the body as it was read.
    package mutating func replaceValue(in range: Range<Int>, with value: some Collection<UInt8>) {
        replacements.removeAll { $0.range == range }
        edits.removeAll { $0.location?.valueRange == range }
        replacements.append(Splice(range: range, replacement: Array(value)))
    }

    /// Removes a top-level member; of several with its name, this one.
    package mutating func remove(_ member: JSONMember) {
        let range = member.keyRange.lowerBound..<member.valueRange.upperBound
        forget(member)
        edits.removeAll { $0.location?.keyRange == member.keyRange }
        removals.append(range)
    }

    /// Adds a top-level member, in front of all others. The body must not have one of that name.
    package mutating func insert(name: String, value: some Collection<UInt8>) {
        Self.record(.value(Array(value), onlyWherePresent: false), at: [name], nil, in: &edits)
    }

    // MARK: Of members

    /// Gives a member a value, whether or not the body has it.
    ///
    /// - Parameters:
    ///   - path: names within the member's value, each in the object before. Objects that are not there are made, and what stands in their
    ///     place and is no object is replaced.
    ///   - value: JSON.
    package mutating func set(
        _ name: RequestMembers.Name,
        _ path: String...,
        to value: some Collection<UInt8>,
        in request: InferenceRequest
    ) {
        record(.value(Array(value), onlyWherePresent: false), name, path, request)
    }

    /// Gives a member another value, if the body has it.
    package mutating func replace(
        _ name: RequestMembers.Name,
        _ path: String...,
        with value: some Collection<UInt8>,
        in request: InferenceRequest
    ) {
        record(.value(Array(value), onlyWherePresent: true), name, path, request)
    }

    /// Removes a member, if the body has it.
    package mutating func remove(_ name: RequestMembers.Name, _ path: String..., in request: InferenceRequest) {
        record(.removed, name, path, request)
    }

    // MARK: Applying

    /// The edited body. `body` is the one that was read; it begins, white space aside, with `{`.
    package func applied(to body: borrowing ByteBuffer) -> ByteBuffer {
        let bytes = body.bytes
        let splices = splices(in: bytes)
        let delta = splices.reduce(0) { $0 + $1.replacement.count - $1.range.count }
        var output = ByteBuffer(minimumCapacity: max(0, bytes.byteCount + delta))
        var offset = 0
        for splice in splices {
            output.append(bytes.extracting(offset..<splice.range.lowerBound))
            output.append(splice.replacement)
            offset = splice.range.upperBound
        }
        output.append(bytes.extracting(offset..<bytes.byteCount))
        return output
    }

    /// The same without a copy: what is not edited stays where it is.
    package func applied(to body: SharedBytes) -> PiecedBytes {
        var output = PiecedBytes()
        var offset = 0
        for splice in splices(in: body.bytes) {
            output.append(body, offset..<splice.range.lowerBound)
            output.append(splice.replacement)
            offset = splice.range.upperBound
        }
        output.append(body, offset..<body.count)
        return output
    }

    /// What to cut and what to put in its place, in the body's order.
    private func splices(in bytes: RawSpan) -> [Splice] {
        var resolver = EditResolver(bytes)
        if !edits.isEmpty || !removals.isEmpty { resolver.resolve(edits, removals: removals, isTopLevel: true) }
        return resolver.ordered(with: replacements)
    }

    // MARK: Recording

    private mutating func record(
        _ change: Change,
        _ name: RequestMembers.Name,
        _ path: [String],
        _ request: InferenceRequest
    ) {
        let location = request.members[name]
        let text = "\(name.text)"
        if path.isEmpty, let location { forget(location) }
        // What is not there need not be removed.
        if location == nil, !edits.contains(where: { $0.name == text }) {
            switch change {
            case .removed, .value(_, onlyWherePresent: true): return
            case .value, .members: break
            }
        }
        Self.record(change, at: [text] + path, location, in: &edits)
    }

    /// Drops what was to be done at the member's place.
    private mutating func forget(_ member: JSONMember) {
        let range = member.keyRange.lowerBound..<member.valueRange.upperBound
        replacements.removeAll { range.contains($0.range.lowerBound) }
        removals.removeAll { $0 == range }
    }

    private static func record(
        _ change: Change,
        at path: some RandomAccessCollection<String>,
        _ location: JSONMember?,
        in edits: inout [Edit]
    ) {
        guard let name = path.first else { return }
        let rest = path.dropFirst()
        guard let index = edits.firstIndex(where: { $0.name == name }) else {
            var first = change
            if !rest.isEmpty {
                var inner: [Edit] = []
                record(change, at: rest, nil, in: &inner)
                first = .members(inner)
            }
            edits.append(Edit(name: name, location: location, change: first))
            return
        }
        edits[index].location = edits[index].location ?? location
        guard rest.isEmpty else {
            edits[index].change = edits[index].change.with(change) { record(change, at: rest, nil, in: &$0) }
            return
        }
        switch (edits[index].change, change) {
        // What an earlier edit put there is present.
        case (.value(_, onlyWherePresent: false), .value(let value, onlyWherePresent: true)):
            edits[index].change = .value(value, onlyWherePresent: false)
        case (.members, .value(let value, onlyWherePresent: true)):
            let isPresent = edits[index].change.rendered != nil
            edits[index].change = .value(value, onlyWherePresent: !isPresent)
        case (.removed, .value(_, onlyWherePresent: true)): break
        default: edits[index].change = change
        }
    }
}

extension BodyEdits.Change {
    /// The change with further ones within it.
    fileprivate func with(_ change: Self, _ record: (inout [BodyEdits.Edit]) -> Void) -> Self {
        var inner: [BodyEdits.Edit] = []
        switch self {
        case .members(let before):
            inner = before
            record(&inner)
            return .members(inner)
        case .removed:
            record(&inner)
            return Self.members(inner).rendered.map { .value($0, onlyWherePresent: false) } ?? .removed
        case .value(let value, let onlyWherePresent):
            record(&inner)
            return .value(Self.edited(value, inner), onlyWherePresent: onlyWherePresent)
        }
    }

    private static func edited(_ value: [UInt8], _ edits: [BodyEdits.Edit]) -> [UInt8] {
        guard value.first(where: { !ASCII.isWhitespace($0) }) == UInt8(ascii: "{") else {
            return Self.members(edits).rendered ?? value
        }
        return value.withRawSpan { bytes in
            var resolver = EditResolver(bytes)
            resolver.resolve(edits)
            var output: [UInt8] = []
            var offset = 0
            for splice in resolver.ordered(with: []) {
                output += value[offset..<splice.range.lowerBound]
                output += splice.replacement
                offset = splice.range.upperBound
            }
            return output + value[offset...]
        }
    }

    /// The value of a member that was not there; nil when it stays so.
    var rendered: [UInt8]? {
        switch self {
        case .value(let value, let onlyWherePresent): return onlyWherePresent ? nil : value
        case .removed: return nil
        case .members(let edits):
            let members = edits.compactMap(\.inserted)
            guard !members.isEmpty else { return nil }
            return [UInt8(ascii: "{")] + members.joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "}")]
        }
    }
}

extension BodyEdits.Edit {
    /// The member, `"name":value`, for an object that has none of that name; nil when it stays so.
    var inserted: [UInt8]? {
        change.rendered.map { JSONValue.quoted(name) + [UInt8(ascii: ":")] + $0 }
    }
}
