internal import Bytes

/// Finds the `usage` object of one JSON document that arrives in pieces, without keeping the document.
///
/// It is looked for among the members of the outermost object and of that object's `response` and `message` members (events of the
/// Responses and the Messages API). Brackets and strings are followed at all depths, nothing else is checked: the document is the model
/// server's, and it passes whatever this finds.
struct UsageScanner: Sendable {
    /// The text of the last `usage` object that was complete.
    private(set) var usage: [UInt8]?
    /// Whether the outermost object has been closed.
    private(set) var isComplete = false

    /// A usage object is a few hundred bytes; a larger one is not one.
    private static let maxUsageBytes = 8192

    private var depth = 0
    private var inString = false
    private var afterBackslash = false
    /// Whether the next string at a level that matters is a member's name.
    private var expectsKey = false
    private var readsKey = false
    private var keyBytes: [UInt8] = []
    private var key = Key.other
    /// Whether the members at depth 2 matter.
    private var inEnvelope = false
    /// The depth at which the usage object that is being kept began.
    private var usageDepth: Int?
    private var kept: [UInt8] = []

    private enum Key { case usage, envelope, other }

    /// Whether members at the present depth are looked at.
    private var matters: Bool { depth == 1 || (depth == 2 && inEnvelope) }

    /// Whether a usage object has begun and not ended.
    var isInUsage: Bool { usageDepth != nil }

    /// Whether nothing of a document was seen yet.
    var isUnread: Bool { depth == 0 && !isComplete && !inString }

    /// Takes the document for read.
    mutating func end() {
        isComplete = true
    }

    mutating func consume(_ bytes: RawSpan) {
        var offset = 0
        while offset < bytes.byteCount, !isComplete { offset = advance(bytes, from: offset) }
    }

    /// Reads on until a usage object begins or ends, or the document or the bytes do.
    ///
    /// - Returns: where that is: behind the object's first brace or its last.
    mutating func advance(_ bytes: RawSpan, from start: Int) -> Int {
        var offset = start
        let wasInUsage = isInUsage
        while offset < bytes.byteCount, !isComplete, isInUsage == wasInUsage {
            let start = offset
            if inString {
                offset = string(bytes, from: offset)
            } else if matters {
                token(bytes[offset])
                offset += 1
            } else {
                offset = ByteScan.nextBracketOrQuote(bytes, from: offset)
                if offset < bytes.byteCount {
                    token(bytes[offset])
                    offset += 1
                }
            }
            if wasInUsage || isInUsage { keep(bytes.extracting(start..<offset), wasKeeping: wasInUsage) }
        }
        return offset
    }

    /// Moves through a string until its end or that of the bytes.
    private mutating func string(_ bytes: RawSpan, from start: Int) -> Int {
        if afterBackslash {
            afterBackslash = false
            return start + 1
        }
        let end = ByteScan.nextQuoteOrBackslash(bytes, from: start)
        if readsKey, keyBytes.count <= 16 {
            for offset in start..<min(end, start + 17) { keyBytes.append(bytes[offset]) }
        }
        guard end < bytes.byteCount else { return end }
        if bytes[end] == UInt8(ascii: "\\") {
            afterBackslash = true
            // No name that matters has an escape.
            if readsKey, keyBytes.count <= 16 { keyBytes.append(UInt8(ascii: "\\")) }
        } else {
            inString = false
            if readsKey { endKey() }
        }
        return end + 1
    }

    private mutating func endKey() {
        readsKey = false
        key = keyBytes.withRawSpan { name in
            if name.isEqual(to: "usage") { return .usage }
            guard depth == 1 else { return .other }
            return name.isEqual(to: "response") || name.isEqual(to: "message") ? .envelope : .other
        }
    }

    /// A byte outside of strings.
    private mutating func token(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""):
            inString = true
            readsKey = expectsKey && matters
            expectsKey = false
            keyBytes.removeAll(keepingCapacity: true)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            let isObject = byte == UInt8(ascii: "{")
            if depth == 0, !isObject {
                isComplete = true
                return
            }
            if matters, isObject, key == .usage, usageDepth == nil { usageDepth = depth }
            if depth == 1 { inEnvelope = isObject && key == .envelope }
            key = .other
            depth += 1
            expectsKey = isObject && matters
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            depth = max(0, depth - 1)
            key = .other
            expectsKey = false
            if depth == 1 { inEnvelope = false }
            if depth == 0 { isComplete = true }
        case UInt8(ascii: ","):
            expectsKey = matters
            key = .other
        default: break
        }
    }

    /// Keeps the bytes of the usage object, from its first brace to its last.
    private mutating func keep(_ bytes: RawSpan, wasKeeping: Bool) {
        guard let usageDepth else { return }
        if !wasKeeping { kept.removeAll(keepingCapacity: true) }
        let room = Self.maxUsageBytes + 1 - kept.count
        bytes.extracting(first: max(0, min(room, bytes.byteCount))).withUnsafeBytes { kept.append(contentsOf: $0) }
        guard depth == usageDepth else { return }
        if kept.count <= Self.maxUsageBytes { usage = kept }
        kept = []
        self.usageDepth = nil
    }
}
