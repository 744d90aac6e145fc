package import Bytes

/// Changes to a JSON body, applied as splices: every byte that is not named by an edit survives.
///
/// Ranges are those of the body as it was read, and edits do not overlap. A value may be replaced, a top-level member removed or a new one
/// inserted, in any order; commas are taken care of.
package struct BodyEdits: Sendable {
    private struct Splice: Sendable {
        let range: Range<Int>
        let replacement: [UInt8]
    }

    private var replacements: [Splice] = []
    private var removals: [Range<Int>] = []
    /// Members to insert, each `"name":value`.
    private var insertions: [[UInt8]] = []

    package init() {}

    package var isEmpty: Bool { replacements.isEmpty && removals.isEmpty && insertions.isEmpty }

    /// Replaces a value, which must be JSON (`JSONValue.quoted` makes a string).
    package mutating func replaceValue(in range: Range<Int>, with value: some Collection<UInt8>) {
        replacements.append(Splice(range: range, replacement: Array(value)))
    }

    /// Removes a top-level member.
    package mutating func remove(_ member: JSONMember) {
        removals.append(member.keyRange.lowerBound..<member.valueRange.upperBound)
    }

    /// Adds a top-level member, in front of all others. The body must not have one of that name.
    package mutating func insert(name: String, value: some Collection<UInt8>) {
        insertions.append(JSONValue.quoted(name) + [UInt8(ascii: ":")] + Array(value))
    }

    /// Replaces the value of a member, or inserts the member where the body has none.
    package mutating func set(
        _ name: RequestMembers.Name,
        to value: some Collection<UInt8>,
        in request: InferenceRequest
    ) {
        if let member = request.members[name] {
            replaceValue(in: member.valueRange, with: value)
        } else {
            insert(name: "\(name.text)", value: value)
        }
    }

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
        var splices = replacements
        let afterBrace = (bytes.firstOffset(of: UInt8(ascii: "{")) ?? -1) + 1
        var objectIsEmpty = Text.next(in: bytes, from: afterBrace) == UInt8(ascii: "}")
        for run in runsOfRemovals(in: bytes) {
            let (range, leavesNothing) = Text.removal(of: run, in: bytes)
            splices.append(Splice(range: range, replacement: []))
            objectIsEmpty = objectIsEmpty || leavesNothing
        }
        if !insertions.isEmpty {
            var text = Array(insertions.joined(separator: [UInt8(ascii: ",")]))
            if !objectIsEmpty { text.append(UInt8(ascii: ",")) }
            splices.append(Splice(range: afterBrace..<afterBrace, replacement: text))
        }
        splices.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var offset = 0
        for splice in splices {
            precondition(
                splice.range.lowerBound >= offset && splice.range.upperBound <= bytes.byteCount,
                "edits overlap"
            )
            offset = splice.range.upperBound
        }
        return splices
    }

    /// Members that are removed together with all that lies between them.
    private func runsOfRemovals(in bytes: RawSpan) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for removal in removals.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = runs.last, Text.isSeparator(bytes, last.upperBound..<removal.lowerBound) {
                runs[runs.count - 1] = last.lowerBound..<removal.upperBound
            } else {
                runs.append(removal)
            }
        }
        return runs
    }
}

/// White space and commas between members.
private enum Text {
    static func next(in bytes: RawSpan, from start: Int) -> UInt8? {
        offset(in: bytes, from: start).map { bytes[$0] }
    }

    static func isSeparator(_ bytes: RawSpan, _ range: Range<Int>) -> Bool {
        range.allSatisfy { bytes[$0] == UInt8(ascii: ",") || ASCII.isWhitespace(bytes[$0]) }
    }

    /// What to cut so that the rest is still an object: the members and the comma behind them, or, at the end, the one before them.
    static func removal(of members: Range<Int>, in bytes: RawSpan) -> (range: Range<Int>, leavesNothing: Bool) {
        if let behind = offset(in: bytes, from: members.upperBound), bytes[behind] == UInt8(ascii: ",") {
            return (members.lowerBound..<behind + 1, false)
        }
        var before = members.lowerBound - 1
        while before > 0, ASCII.isWhitespace(bytes[before]) { before -= 1 }
        if before >= 0, bytes[before] == UInt8(ascii: ",") { return (before..<members.upperBound, false) }
        return (members, true)
    }

    private static func offset(in bytes: RawSpan, from start: Int) -> Int? {
        (start..<max(start, bytes.byteCount)).first { !ASCII.isWhitespace(bytes[$0]) }
    }
}
