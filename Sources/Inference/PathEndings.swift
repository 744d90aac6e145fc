/// What is known by how a request's path ends: of several endings that fit, the longest tells.
///
/// A query, a fragment and slashes at the end are no part of a path.
struct PathEndings<Value: Sendable>: Sendable {
    private let texts: [[UInt8]]
    private let values: [Value]

    /// Of equal endings the first counts.
    init(_ endings: [(text: String, value: Value)]) {
        // The sort keeps the order of equals.
        let sorted = endings.map { (text: Array($0.text.utf8), value: $0.value) }
            .sorted { $0.text.count > $1.text.count }
        texts = sorted.map(\.text)
        values = sorted.map(\.value)
    }

    func value(for path: String) -> Value? {
        let bytes = path.utf8Span.span
        let end = Self.end(of: bytes)
        for index in texts.indices where Self.isEnding(texts[index], of: bytes, at: end) { return values[index] }
        return nil
    }

    /// The path without query, fragment and slashes at its end.
    static func bare(_ path: String) -> String {
        let end = end(of: path.utf8Span.span)
        return end == path.utf8.count ? path : String(decoding: path.utf8.prefix(end), as: UTF8.self)
    }

    private static func end(of path: Span<UInt8>) -> Int {
        var end = path.count
        for index in path.indices where path[index] == UInt8(ascii: "?") || path[index] == UInt8(ascii: "#") {
            end = index
            break
        }
        while end > 0, path[end - 1] == UInt8(ascii: "/") { end -= 1 }
        return end
    }

    private static func isEnding(_ text: [UInt8], of path: Span<UInt8>, at end: Int) -> Bool {
        guard text.count <= end else { return false }
        var index = text.count
        // From behind: most endings differ there already.
        while index > 0 {
            index -= 1
            if text[index] != path[end - text.count + index] { return false }
        }
        return true
    }
}
