package import Bytes

/// Gives a response the model's name that the client asked for, where a server answers with the name that it was sent.
///
/// Every `"model":"<target>"`, with or without one space behind the colon, is rewritten, also when it is split over chunks: up to that many
/// bytes are held back at a chunk's end. In a JSON string the quotes of such a text would be escaped, so only members match.
package struct ModelNameRestorer: ResponseEditor {
    private let patterns: [[UInt8]]
    private let replacement: [UInt8]
    /// The bytes that were held back: the start of what may be a match.
    private var held: [UInt8] = []

    /// - Parameters:
    ///   - target: The name that the server was sent.
    ///   - incoming: The name that the client sent.
    package init(from target: String, to incoming: String) {
        let value = JSONValue.quoted(target)
        // With equal names nothing needs a look.
        patterns = target == incoming ? [] : [#""model":"#, #""model": "#].map { Array($0.utf8) + value }
        replacement = JSONValue.quoted(incoming)
    }

    package mutating func process(_ chunk: RawSpan, isLast: Bool) -> ByteBuffer? {
        guard !patterns.isEmpty else { return nil }
        if held.isEmpty {
            guard ByteScan.offset(of: Self.key, in: chunk) != nil || (!isLast && Self.mayBeCut(chunk, patterns) != nil)
            else {
                return nil
            }
            return rewrite(chunk, isLast: isLast, isJoined: false)
        }
        var joined = ByteBuffer(minimumCapacity: held.count + chunk.byteCount)
        joined.append(held)
        joined.append(chunk)
        held = []
        return rewrite(joined.bytes, isLast: isLast, isJoined: true)
    }

    private static let key: StaticString = #""model":"#

    private mutating func rewrite(_ bytes: RawSpan, isLast: Bool, isJoined: Bool) -> ByteBuffer? {
        var output = ByteBuffer()
        var copied = 0
        var search = 0
        while let key = ByteScan.offset(of: Self.key, in: bytes, from: search) {
            guard let pattern = patterns.first(where: { bytes.holds($0, at: key) }) else {
                search = key + 1
                continue
            }
            if output.isEmpty { output.reserve(bytes.byteCount + replacement.count) }
            let value = key + pattern.count - patterns[0].count + Self.key.utf8CodeUnitCount
            output.append(bytes.extracting(copied..<value))
            output.append(replacement)
            copied = key + pattern.count
            search = copied
        }
        let end = isLast ? bytes.byteCount : Self.mayBeCut(bytes, patterns, from: copied) ?? bytes.byteCount
        if copied == 0, end == bytes.byteCount, !isJoined { return nil }
        output.append(bytes.extracting(copied..<end))
        if end < bytes.byteCount { held = bytes.extracting(end..<bytes.byteCount).copied() }
        return output
    }

    /// Where a match may begin that the end of the bytes cuts off.
    private static func mayBeCut(_ bytes: RawSpan, _ patterns: [[UInt8]], from start: Int = 0) -> Int? {
        let longest = patterns.last?.count ?? 0
        var offset = max(start, bytes.byteCount - longest + 1)
        while let quote = bytes.firstOffset(of: UInt8(ascii: "\""), from: offset) {
            let rest = bytes.extracting(quote..<bytes.byteCount)
            let isPrefix = patterns.contains { pattern in
                pattern.count > rest.byteCount
                    && pattern.withRawSpan { $0.extracting(first: rest.byteCount).isEqual(to: rest) }
            }
            if isPrefix { return quote }
            offset = quote + 1
        }
        return nil
    }
}

extension RawSpan {
    fileprivate func holds(_ text: [UInt8], at offset: Int) -> Bool {
        guard offset + text.count <= byteCount else { return false }
        return text.withRawSpan { extracting(offset..<offset + text.count).isEqual(to: $0) }
    }
}
