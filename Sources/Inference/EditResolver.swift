internal import Bytes

/// Finds where in a document edits of members take place.
struct EditResolver: ~Escapable {
    private let bytes: RawSpan
    private var splices: [BodyEdits.Splice] = []

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) {
        self.bytes = bytes
    }

    /// The edits of one object.
    ///
    /// - Parameters:
    ///   - start: where the object begins, or white space before it.
    ///   - removals: members to remove besides.
    ///   - isTopLevel: whether edits say where their members are.
    mutating func resolve(
        _ edits: [BodyEdits.Edit],
        from start: Int = 0,
        removals: [Range<Int>] = [],
        isTopLevel: Bool = false
    ) {
        let places = isTopLevel ? locate(edits, from: start) : find(edits, from: start)
        var removals = removals
        var insertions: [[UInt8]] = []
        for (edit, places) in zip(edits, places) {
            guard let last = places.last else {
                if let member = edit.inserted { insertions.append(member) }
                continue
            }
            for earlier in places.dropLast() { removals.append(earlier.range) }
            switch edit.change {
            case .value(let value, _): replace(last.valueRange, with: value)
            case .removed: removals.append(last.range)
            case .members(let inner):
                if bytes[last.valueRange.lowerBound] == UInt8(ascii: "{") {
                    resolve(inner, from: last.valueRange.lowerBound)
                } else if let value = edit.change.rendered {
                    replace(last.valueRange, with: value)
                }
            }
        }
        remove(removals, andInsert: insertions, from: start)
    }

    /// All splices in their order, each once; of two where one lies within the other, the larger.
    consuming func ordered(with more: [BodyEdits.Splice]) -> [BodyEdits.Splice] {
        var sorted = splices + more
        sorted.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var offset = 0
        var kept: [BodyEdits.Splice] = []
        kept.reserveCapacity(sorted.count)
        for splice in sorted {
            precondition(splice.range.upperBound <= bytes.byteCount, "an edit lies outside the body")
            if splice.range.lowerBound < offset {
                precondition(splice.range.upperBound <= offset, "edits overlap")
                continue
            }
            kept.append(splice)
            offset = splice.range.upperBound
        }
        return kept
    }

    // MARK: Places

    /// Where the members of the edits are, each in the order of the text.
    private func locate(_ edits: [BodyEdits.Edit], from start: Int) -> [[JSONPart]] {
        // A member that is there once is where the reader found it.
        if edits.contains(where: { ($0.location?.occurrences ?? 0) > 1 }) { return find(edits, from: start) }
        return edits.map { edit in
            edit.location.map { [JSONPart(keyRange: $0.keyRange, valueRange: $0.valueRange)] } ?? []
        }
    }

    private func find(_ edits: [BodyEdits.Edit], from start: Int) -> [[JSONPart]] {
        var places = [[JSONPart]](repeating: [], count: edits.count)
        JSONParts.forEachMember(of: bytes, from: start) { part in
            if let index = edits.firstIndex(where: { JSONParts.isName(part.keyRange, in: bytes, $0.name) }) {
                places[index].append(part)
            }
            return true
        }
        return places
    }

    // MARK: Splices

    private mutating func replace(_ range: Range<Int>, with value: [UInt8]) {
        splices.append(BodyEdits.Splice(range: range, replacement: value))
    }

    private mutating func remove(_ removals: [Range<Int>], andInsert insertions: [[UInt8]], from start: Int) {
        let afterBrace = (bytes.firstOffset(of: UInt8(ascii: "{"), from: start) ?? -1) + 1
        var objectIsEmpty = nextOffset(afterBrace).map { bytes[$0] } == UInt8(ascii: "}")
        for run in runs(of: removals) {
            let (range, leavesNothing) = cut(run)
            replace(range, with: [])
            objectIsEmpty = objectIsEmpty || leavesNothing
        }
        guard !insertions.isEmpty else { return }
        var text = Array(insertions.joined(separator: [UInt8(ascii: ",")]))
        if !objectIsEmpty { text.append(UInt8(ascii: ",")) }
        replace(afterBrace..<afterBrace, with: text)
    }

    /// Members that are removed together with all that lies between them.
    private func runs(of removals: [Range<Int>]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for removal in removals.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = runs.last, isSeparator(last.upperBound..<max(last.upperBound, removal.lowerBound)) {
                runs[runs.count - 1] = last.lowerBound..<max(last.upperBound, removal.upperBound)
            } else {
                runs.append(removal)
            }
        }
        return runs
    }

    /// What to cut so that the rest is still an object: the members and the comma behind them, or, at the end, the one before them.
    private func cut(_ members: Range<Int>) -> (range: Range<Int>, leavesNothing: Bool) {
        if let behind = nextOffset(members.upperBound), bytes[behind] == UInt8(ascii: ",") {
            return (members.lowerBound..<behind + 1, false)
        }
        var before = members.lowerBound - 1
        while before > 0, ASCII.isWhitespace(bytes[before]) { before -= 1 }
        if before >= 0, bytes[before] == UInt8(ascii: ",") { return (before..<members.upperBound, false) }
        return (members, true)
    }

    private func isSeparator(_ range: Range<Int>) -> Bool {
        range.allSatisfy { bytes[$0] == UInt8(ascii: ",") || ASCII.isWhitespace(bytes[$0]) }
    }

    private func nextOffset(_ start: Int) -> Int? {
        (start..<max(start, bytes.byteCount)).first { !ASCII.isWhitespace(bytes[$0]) }
    }
}

extension JSONPart {
    /// The name and the value.
    fileprivate var range: Range<Int> { keyRange.lowerBound..<valueRange.upperBound }
}
