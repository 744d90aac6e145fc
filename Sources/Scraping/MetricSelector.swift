/// Which series of a page are meant: a metric's name, and labels that must have these values.
package struct MetricSelector: Sendable, Equatable {
    package var name: String
    package var labels: [String: String]

    package init(_ name: String, labels: [String: String] = [:]) {
        self.name = name
        self.labels = labels
    }

    /// What is wrong with the text of a selector.
    package struct SyntaxError: Error, Equatable {
        package let message: String
    }

    /// Reads an instant selector of PromQL with equality matchers: `name`, `name{label="value",other=value}`. Quotes are optional, spaces are
    /// allowed between all parts.
    ///
    /// Refused is what PromQL knows beyond that: other operators, ranges, offsets, a selector without a name. A matcher with an empty value is
    /// refused too, since it would mean series that do not have the label.
    package init(parsing text: String) throws(SyntaxError) {
        var reader = SelectorReader(text)
        self = try reader.selector()
    }
}

private struct SelectorReader {
    private var rest: Substring.UnicodeScalarView

    init(_ text: String) {
        rest = Substring(text).unicodeScalars
    }

    mutating func selector() throws(MetricSelector.SyntaxError) -> MetricSelector {
        skipSpaces()
        let name = word {
            Self.isNameStart($0) || $0 == ":"
        } others: {
            Self.isName($0) || $0 == ":"
        }
        guard !name.isEmpty else { throw wrong("a metric's name") }
        var selector = MetricSelector(name)
        skipSpaces()
        if take("{") { try matchers(into: &selector) }
        skipSpaces()
        guard rest.isEmpty else { throw wrong(selector.labels.isEmpty ? "{ or the end" : "the end") }
        return selector
    }

    private mutating func matchers(into selector: inout MetricSelector) throws(MetricSelector.SyntaxError) {
        while true {
            skipSpaces()
            // Also after a comma, as PromQL has it.
            if take("}") { return }
            let label = word(first: Self.isNameStart, others: Self.isName)
            guard !label.isEmpty else { throw wrong("a label's name or }") }
            skipSpaces()
            if rest.starts(with: "=~".unicodeScalars) || rest.first == "!" {
                throw MetricSelector.SyntaxError(message: "only = is allowed between a label and its value")
            }
            guard take("=") else { throw wrong("=") }
            skipSpaces()
            let value = try value()
            guard !value.isEmpty else {
                throw MetricSelector.SyntaxError(message: "the value of label \"\(label)\" must not be empty")
            }
            guard selector.labels.updateValue(value, forKey: label) == nil else {
                throw MetricSelector.SyntaxError(message: "label \"\(label)\" is there more than once")
            }
            skipSpaces()
            if take("}") { return }
            guard take(",") else { throw wrong(", or }") }
        }
    }

    private mutating func value() throws(MetricSelector.SyntaxError) -> String {
        guard let quote = rest.first, quote == "\"" || quote == "'" else {
            let isBare: (Unicode.Scalar) -> Bool = { !",}{\"'=\\".unicodeScalars.contains($0) && !Self.isSpace($0) }
            return word(first: isBare, others: isBare)
        }
        rest.removeFirst()
        var value = String.UnicodeScalarView()
        while let next = rest.popFirst() {
            if next == quote { return String(value) }
            guard next == "\\" else {
                value.append(next)
                continue
            }
            switch rest.popFirst() {
            case "n": value.append("\n")
            case let escaped? where "\\\"'".unicodeScalars.contains(escaped): value.append(escaped)
            default: throw MetricSelector.SyntaxError(message: "a backslash may stand before \\, \", ' and n only")
            }
        }
        throw wrong("the closing \(quote)")
    }

    // MARK: Parts

    private mutating func word(
        first: (Unicode.Scalar) -> Bool,
        others: (Unicode.Scalar) -> Bool
    ) -> String {
        guard let begin = rest.first, first(begin) else { return "" }
        let word = rest.prefix(while: others)
        rest = rest[word.endIndex...]
        return String(word)
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard rest.first == scalar else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func skipSpaces() {
        rest = rest.drop(while: Self.isSpace)
    }

    private func wrong(_ expected: String) -> MetricSelector.SyntaxError {
        let found = rest.isEmpty ? "the text ends" : "there is \"\(String(rest.prefix(20)))\""
        return MetricSelector.SyntaxError(message: "\(found) where \(expected) should be")
    }

    private static func isNameStart(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "_" || ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
    }

    private static func isName(_ scalar: Unicode.Scalar) -> Bool {
        isNameStart(scalar) || ("0"..."9").contains(scalar)
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r"
    }
}

extension MetricSelector {
    /// A label's value as a page spells it.
    static func escaped(_ value: String) -> [UInt8] {
        value.utf8.flatMap { byte -> [UInt8] in
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: "\""): [UInt8(ascii: "\\"), byte]
            case UInt8(ascii: "\n"): [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            default: [byte]
            }
        }
    }
}
