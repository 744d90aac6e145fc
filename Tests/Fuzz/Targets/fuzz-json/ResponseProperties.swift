import Bytes
import FuzzSupport
import Inference

/// What a reader finds does not depend on how the bytes are split.
func checkUsage(_ document: [UInt8], _ generator: inout SeededGenerator) {
    func read(_ format: UsageReader.Format, _ chunks: [[UInt8]]) -> (usage: TokenUsage?, done: Bool) {
        var reader = UsageReader(format: format)
        for chunk in chunks { chunk.withRawSpan { reader.consume($0) } }
        reader.finish()
        return (reader.usage, reader.sawDone)
    }
    for format in [UsageReader.Format.json, .eventStream] {
        let whole = read(format, [document])
        for count in [whole.usage?.promptTokens, whole.usage?.completionTokens, whole.usage?.cachedTokens] {
            check(count.map { $0 >= 0 } ?? true, "\(whole)")
        }
        for _ in 0..<2 {
            let chunks = pieces(document, &generator)
            let split = read(format, chunks)
            // Such a chunk ends the line before it, on purpose.
            if format == .eventStream, chunks.dropFirst().contains(where: { $0.starts(with: "data:".utf8) }) {
                continue
            }
            check(split == whole, "\(format): \(split) in pieces, \(whole) as a whole")
        }
    }
}

/// A response in pieces is rewritten as the whole one is, and the whole one as a plain search and replacement does.
func checkRestorer(_ document: [UInt8], _ generator: inout SeededGenerator) {
    let target = ["m", "my-model", "a\"b", ""].randomElement(using: &generator) ?? ""
    func restore(_ chunks: [[UInt8]]) -> [UInt8] {
        var restorer = ModelNameRestorer(from: target, to: "client's")
        var output: [UInt8] = []
        for (index, chunk) in chunks.enumerated() {
            chunk.withRawSpan { bytes in
                if let replaced = restorer.process(bytes, isLast: index == chunks.count - 1) {
                    output += replaced.bytes.copied()
                } else {
                    output += chunk
                }
            }
        }
        return output
    }
    let expected = replaced(document, target)
    check(restore([document]) == expected, "whole")
    for _ in 0..<2 { check(restore(pieces(document, &generator)) == expected, "in pieces") }
}

/// A response in pieces is rewritten as the whole one is; one that is JSON stays JSON, and a second time changes nothing.
func checkCachedTokens(_ document: [UInt8], _ generator: inout SeededGenerator) {
    func rewrite(_ chunks: [[UInt8]], _ format: CachedTokensRewriter.Format) -> [UInt8] {
        var rewriter = CachedTokensRewriter(cachedTokens: 12_345, format: format)
        var output: [UInt8] = []
        for (index, chunk) in chunks.enumerated() {
            chunk.withRawSpan { bytes in
                if let replaced = rewriter.process(bytes, isLast: index == chunks.count - 1) {
                    output += replaced.bytes.copied()
                } else {
                    output += chunk
                }
            }
        }
        return output
    }
    for format in [CachedTokensRewriter.Format.json, .eventStream] {
        let expected = rewrite([document], format)
        for _ in 0..<2 { check(rewrite(pieces(document, &generator), format) == expected, "\(format) in pieces") }
        check(rewrite([expected], format) == expected, "\(format) twice")
    }
    if isObject(document) { check(isObject(rewrite([document], .json)), "no JSON any more") }
}

private func isObject(_ document: [UInt8]) -> Bool {
    (try? document.withRawSpan { bytes throws(JSONError) in try Parts.any.read(bytes) { _ in true } }) ?? false
}

private enum Parts {
    static let any = JSONReader(names: ["a"])
}

/// A walk over any bytes ends, and over an object it finds as many members as the reader counts.
func checkParts(_ document: [UInt8]) {
    document.withRawSpan { bytes in
        var last = 0
        JSONParts.forEachMember(of: bytes) { part in
            check(part.keyRange.lowerBound > last && part.valueRange.upperBound <= bytes.byteCount, "\(part)")
            last = part.valueRange.upperBound - 1
            return true
        }
        JSONParts.forEachElement(of: bytes) { $0.upperBound <= bytes.byteCount }
        check(JSONParts.depth(of: bytes) <= bytes.byteCount, "depth")
        let names = Parts.any
        guard let found = try? names.read(bytes, { $0[0] }) else { return }
        let part = JSONParts.member("a", of: bytes)
        check(part?.valueRange == found.valueRange && part?.keyRange == found.keyRange, "\(part as Any)")
    }
}

private func replaced(_ document: [UInt8], _ target: String) -> [UInt8] {
    let keys = [#""model":"#, #""model": "#].map { Array($0.utf8) }
    let value = JSONValue.quoted(target)
    var output: [UInt8] = []
    var rest = document[...]
    while let first = rest.first {
        if let key = keys.first(where: { rest.starts(with: $0 + value) }) {
            output += key + JSONValue.quoted("client's")
            rest = rest.dropFirst(key.count + value.count)
        } else {
            output.append(first)
            rest = rest.dropFirst()
        }
    }
    return output
}
