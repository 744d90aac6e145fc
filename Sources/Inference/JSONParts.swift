internal import Bytes

/// A member of a JSON object: where its name lies, quotes included, and where its value does.
package struct JSONPart: Sendable, Equatable {
    package let keyRange: Range<Int>
    package let valueRange: Range<Int>
}

/// Walks over the members of objects and the elements of arrays, all of them and in order, without decoding them.
///
/// The bytes must be part of a document that a `JSONReader` has accepted; of any others the walk may end early, but reads nothing outside of
/// them. It costs no memory and does not recurse.
package enum JSONParts {
    /// Runs `body` with each member of the object that begins at `start`, until it returns false.
    package static func forEachMember(
        of bytes: RawSpan,
        from start: Int = 0,
        _ body: (JSONPart) -> Bool
    ) {
        guard var offset = firstOther(bytes, start), bytes[offset] == UInt8(ascii: "{") else { return }
        offset += 1
        while let key = firstOther(bytes, offset), bytes[key] == UInt8(ascii: "\""),
            let keyEnd = end(ofStringAt: key, in: bytes),
            let colon = firstOther(bytes, keyEnd), bytes[colon] == UInt8(ascii: ":"),
            let value = firstOther(bytes, colon + 1), let valueEnd = end(ofValueAt: value, in: bytes)
        {
            guard body(JSONPart(keyRange: key..<keyEnd, valueRange: value..<valueEnd)),
                let comma = firstOther(bytes, valueEnd), bytes[comma] == UInt8(ascii: ",")
            else { return }
            offset = comma + 1
        }
    }

    /// Runs `body` with the range of each element of the array that begins at `start`, until it returns false.
    package static func forEachElement(
        of bytes: RawSpan,
        from start: Int = 0,
        _ body: (Range<Int>) -> Bool
    ) {
        guard var offset = firstOther(bytes, start), bytes[offset] == UInt8(ascii: "[") else { return }
        offset += 1
        while let value = firstOther(bytes, offset), let valueEnd = end(ofValueAt: value, in: bytes) {
            guard body(value..<valueEnd), let comma = firstOther(bytes, valueEnd), bytes[comma] == UInt8(ascii: ",")
            else { return }
            offset = comma + 1
        }
    }

    /// What to cut out of the object that begins at `start` so that it has no member of that name, commas included.
    package static func places(of name: String, in bytes: RawSpan, from start: Int) -> [Range<Int>] {
        var cuts: [Range<Int>] = []
        /// Where the members at the object's beginning that go begin; nil once one stays.
        var leading: Int?
        var end: Int?
        forEachMember(of: bytes, from: start) { part in
            let goes = isName(part.keyRange, in: bytes, name)
            if end == nil, goes { leading = part.keyRange.lowerBound }
            if let first = leading, !goes {
                cuts.append(first..<part.keyRange.lowerBound)
                leading = nil
            } else if goes, leading == nil, let end {
                cuts.append(end..<part.valueRange.upperBound)
            }
            end = part.valueRange.upperBound
            return true
        }
        if let leading, let end { cuts.append(leading..<end) }
        return cuts
    }

    /// The last member of that name of the object that begins at `start`.
    package static func member(_ name: String, of bytes: RawSpan, from start: Int = 0) -> JSONPart? {
        var found: JSONPart?
        forEachMember(of: bytes, from: start) { part in
            if isName(part.keyRange, in: bytes, name) { found = part }
            return true
        }
        return found
    }

    /// The text of a string, its quotes included in `range`; nil for any other value.
    package static func string(_ range: Range<Int>, in bytes: RawSpan) -> String? {
        guard range.count >= 2, bytes[range.lowerBound] == UInt8(ascii: "\"") else { return nil }
        let content = bytes.extracting(range.lowerBound + 1..<range.upperBound - 1)
        let isEscaped = content.firstOffset(of: UInt8(ascii: "\\")) != nil
        return isEscaped ? ByteScan.unescaped(content) : String(repairing: content)
    }

    /// Whether the string in `range`, quotes included, reads `name`.
    package static func isName(_ range: Range<Int>, in bytes: RawSpan, _ name: String) -> Bool {
        guard range.count >= 2, bytes[range.lowerBound] == UInt8(ascii: "\"") else { return false }
        let content = bytes.extracting(range.lowerBound + 1..<range.upperBound - 1)
        let length = name.utf8.count
        if content.byteCount == length {
            return name.utf8.enumerated().allSatisfy { content[$0.offset] == $0.element }
        }
        // An escape takes at most six bytes for one.
        guard content.byteCount > length, content.byteCount <= 6 * length,
            content.firstOffset(of: UInt8(ascii: "\\")) != nil
        else { return false }
        return ByteScan.unescaped(content).utf8.elementsEqual(name.utf8)
    }

    /// How many brackets are open at most at once in the value.
    package static func depth(of bytes: RawSpan) -> Int {
        var depth = 0
        var deepest = 0
        var offset = 0
        while true {
            offset = ByteScan.nextBracketOrQuote(bytes, from: offset)
            guard offset < bytes.byteCount else { return deepest }
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                guard let behind = end(ofStringAt: offset, in: bytes) else { return deepest }
                offset = behind
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            default: depth -= 1
            }
            deepest = max(deepest, depth)
            offset += 1
        }
    }

    // MARK: Ends

    private static func end(ofValueAt start: Int, in bytes: RawSpan) -> Int? {
        switch bytes[start] {
        case UInt8(ascii: "\""): return end(ofStringAt: start, in: bytes)
        case UInt8(ascii: "{"), UInt8(ascii: "["): return end(ofContainerAt: start, in: bytes)
        case UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ","): return nil
        default:
            var offset = start
            while offset < bytes.byteCount, !isDelimiter(bytes[offset]) { offset += 1 }
            return offset
        }
    }

    private static func isDelimiter(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") || ASCII.isWhitespace(byte)
    }

    private static func end(ofStringAt start: Int, in bytes: RawSpan) -> Int? {
        var offset = start + 1
        while true {
            offset = ByteScan.nextQuoteOrBackslash(bytes, from: offset)
            guard offset < bytes.byteCount else { return nil }
            if bytes[offset] == UInt8(ascii: "\"") { return offset + 1 }
            offset = min(offset + 2, bytes.byteCount)
        }
    }

    private static func end(ofContainerAt start: Int, in bytes: RawSpan) -> Int? {
        var depth = 0
        var offset = start
        while true {
            offset = ByteScan.nextBracketOrQuote(bytes, from: offset)
            guard offset < bytes.byteCount else { return nil }
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                guard let behind = end(ofStringAt: offset, in: bytes) else { return nil }
                offset = behind
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            default: depth -= 1
            }
            offset += 1
            if depth == 0 { return offset }
        }
    }

    /// The first byte that is no white space.
    private static func firstOther(_ bytes: RawSpan, _ start: Int) -> Int? {
        var offset = start
        while offset < bytes.byteCount, ASCII.isWhitespace(bytes[offset]) { offset += 1 }
        return offset < bytes.byteCount ? offset : nil
    }
}
