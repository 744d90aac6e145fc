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
