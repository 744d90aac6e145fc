/// A label selector as a request's query holds it: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
struct FakeSelector {
    private let tests: [@Sendable ([String: String]) -> Bool]

    /// Nil for what no server would take.
    init?(_ text: String?) {
        var parts = [""]
        var depth = 0
        for character in text ?? "" {
            depth += character == "(" ? 1 : character == ")" ? -1 : 0
            if character == ",", depth == 0 { parts.append("") } else { parts[parts.count - 1].append(character) }
        }
        var tests: [@Sendable ([String: String]) -> Bool] = []
        for part in parts where !part.isEmpty {
            guard let test = Self.test(part) else { return nil }
            tests.append(test)
        }
        self.tests = tests
    }

    func matches(_ labels: [String: String]) -> Bool { tests.allSatisfy { $0(labels) } }

    private static func test(_ part: String) -> (@Sendable ([String: String]) -> Bool)? {
        let words = part.split(separator: " ", maxSplits: 1).map(String.init)
        if words.count == 2 {
            let isNegative = words[1].hasPrefix("notin ")
            guard isNegative || words[1].hasPrefix("in "), words[1].hasSuffix(")"),
                let open = words[1].firstIndex(of: "(")
            else { return nil }
            let values = words[1][open...].dropFirst().dropLast().split(separator: ",").map(String.init)
            return { labels in labels[words[0]].map { values.contains($0) != isNegative } ?? isNegative }
        }
        for (sign, isEqual) in [("!=", false), ("=", true)] {
            guard let range = part.firstRange(of: sign) else { continue }
            let (key, value) = (String(part[..<range.lowerBound]), String(part[range.upperBound...]))
            return { labels in (labels[key] == value) == isEqual }
        }
        let key = part.hasPrefix("!") ? String(part.dropFirst()) : part
        return { labels in (labels[key] != nil) == (key == part) }
    }
}
