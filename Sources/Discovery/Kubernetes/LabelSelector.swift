internal import Bytes

/// Which labels an object must have.
package struct LabelSelector: Sendable, Equatable, CustomStringConvertible {
    package enum Operator: String, Sendable {
        case isIn = "in"
        case notIn = "notin"
        case exists
        case absent
    }

    package struct Requirement: Sendable, Equatable {
        package let key: String
        package let relation: Operator
        package let values: [String]

        func matches(_ labels: [String: String]) -> Bool {
            let value = labels[key]
            return switch relation {
            case .isIn: value.map { values.contains($0) } ?? false
            case .notIn: value.map { !values.contains($0) } ?? true
            case .exists: value != nil
            case .absent: value == nil
            }
        }
    }

    /// All of them must hold; none means every object.
    package let requirements: [Requirement]

    package init(_ requirements: [Requirement]) {
        self.requirements = requirements
    }

    /// Exactly these labels, and any others.
    package init(matching labels: [String: String]) {
        self.init(
            labels.sorted { $0.key < $1.key }.map { Requirement(key: $0.key, relation: .isIn, values: [$0.value]) }
        )
    }

    package func matches(_ labels: [String: String]) -> Bool {
        requirements.allSatisfy { $0.matches(labels) }
    }

    /// As the API takes it in a query.
    package var description: String {
        requirements.map { requirement in
            switch requirement.relation {
            case .isIn where requirement.values.count == 1: "\(requirement.key)=\(requirement.values[0])"
            case .notIn where requirement.values.count == 1: "\(requirement.key)!=\(requirement.values[0])"
            case .isIn, .notIn:
                "\(requirement.key) \(requirement.relation.rawValue) (\(requirement.values.joined(separator: ",")))"
            case .exists: requirement.key
            case .absent: "!\(requirement.key)"
            }
        }.joined(separator: ",")
    }
}

extension LabelSelector {
    /// What is wrong with a selector, in one sentence.
    package struct Malformed: Error, CustomStringConvertible {
        package let description: String
    }

    /// Reads what kubectl's `-l` takes: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    package init(parsing text: String) throws(Malformed) {
        var requirements: [Requirement] = []
        for part in Self.parts(text) {
            requirements.append(try Self.requirement(part))
        }
        guard !requirements.isEmpty else { throw Malformed(description: "the selector is empty") }
        self.init(requirements)
    }

    /// Cuts at the commas outside of parentheses.
    private static func parts(_ text: String) -> [String] {
        var parts = [""]
        var depth = 0
        for character in text {
            depth += character == "(" ? 1 : character == ")" ? -1 : 0
            if character == ",", depth <= 0 { parts.append("") } else { parts[parts.count - 1].append(character) }
        }
        return parts.map { trimmed($0) }.filter { !$0.isEmpty }
    }

    private static func requirement(_ part: String) throws(Malformed) -> Requirement {
        if part.hasPrefix("!") {
            return Requirement(key: try key(part.dropFirst(), of: part), relation: .absent, values: [])
        }
        for (sign, relation) in [("!=", Operator.notIn), ("==", .isIn), ("=", .isIn)] {
            guard let range = part.firstRange(of: sign) else { continue }
            let value = trimmed(String(part[range.upperBound...]))
            guard isValue(value) else { throw Malformed(description: "\"\(value)\" is no label's value") }
            return Requirement(key: try key(part[..<range.lowerBound], of: part), relation: relation, values: [value])
        }
        let words = part.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        guard words.count == 2, let name = words.first else {
            return Requirement(key: try key(part[...], of: part), relation: .exists, values: [])
        }
        let rest = trimmed(String(words[1]))
        for relation in [Operator.isIn, .notIn] where rest.hasPrefix(relation.rawValue) {
            let list = trimmed(String(rest.dropFirst(relation.rawValue.count)))
            guard list.hasPrefix("("), list.hasSuffix(")") else { continue }
            let values = list.dropFirst().dropLast().split(separator: ",", omittingEmptySubsequences: false)
                .map { trimmed(String($0)) }
            guard values.allSatisfy(isValue) else { throw Malformed(description: "bad values in \"\(part)\"") }
            return Requirement(key: try key(name, of: part), relation: relation, values: values)
        }
        throw Malformed(description: "\"\(part)\" is no requirement on labels")
    }

    private static func key(_ text: Substring, of part: String) throws(Malformed) -> String {
        let key = trimmed(String(text))
        let halves = key.split(separator: "/", omittingEmptySubsequences: false)
        guard let name = halves.last, (1...2).contains(halves.count), !name.isEmpty, isValue(String(name)),
            halves.count == 1 || !halves[0].isEmpty && halves[0].utf8.allSatisfy(isNameByte)
        else { throw Malformed(description: "\"\(key)\" in \"\(part)\" is no label's name") }
        return key
    }

    private static func isValue(_ text: String) -> Bool {
        text.utf8.count <= 63 && text.utf8.allSatisfy(isNameByte)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        ASCII.isDigit(byte) || ASCII.lowercased(byte) &- 0x61 < 26 || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
    }

    private static func trimmed(_ text: String) -> String {
        String(ASCII.trimmed(text[...]))
    }
}
