/// A place in a text: both numbers count from 1; the column counts characters, not bytes.
package struct SourcePosition: Hashable, Comparable, Sendable {
    package let line: Int
    package let column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package static let start = SourcePosition(line: 1, column: 1)

    package static func < (left: SourcePosition, right: SourcePosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// One thing that is wrong, or worth knowing, in a file. Its description is `FILE:LINE:COLUMN: error: MESSAGE`.
package struct Diagnostic: Hashable, Sendable, CustomStringConvertible {
    package enum Severity: String, Sendable {
        case error
        case warning
    }

    package let file: String
    package let position: SourcePosition
    package let severity: Severity
    package let message: String

    package init(file: String, position: SourcePosition, severity: Severity, message: String) {
        self.file = file
        self.position = position
        self.severity = severity
        self.message = message
    }

    package var line: Int { position.line }
    package var column: Int { position.column }

    package var description: String {
        "\(file):\(position.line):\(position.column): \(severity.rawValue): \(message)"
    }
}

/// Collects what is found in one file, so that everything is said at once.
///
/// At most `limit` findings are kept: a file of a million mistakes costs no more than one of a hundred. Used by one thread at a time.
package final class Diagnostics {
    package static let limit = 100

    package let file: String
    package private(set) var hasErrors = false
    private var list: [Diagnostic] = []
    private var dropped = 0

    package init(file: String) {
        self.file = file
    }

    package func error(_ message: String, at position: SourcePosition) {
        hasErrors = true
        add(message, .error, position)
    }

    package func warning(_ message: String, at position: SourcePosition) {
        add(message, .warning, position)
    }

    /// Whether what is still found will only be counted; then nobody need look for good advice.
    package var isFull: Bool { list.count >= Self.limit }

    /// What was found, in the order of the text.
    package var all: [Diagnostic] {
        var sorted = list.enumerated().sorted {
            ($0.element.position, $0.offset) < ($1.element.position, $1.offset)
        }.map(\.element)
        if dropped > 0, let last = sorted.last {
            sorted.append(
                Diagnostic(
                    file: file,
                    position: last.position,
                    severity: hasErrors ? .error : .warning,
                    message: "\(dropped) more not shown"
                )
            )
        }
        return sorted
    }

    private func add(_ message: String, _ severity: Diagnostic.Severity, _ position: SourcePosition) {
        if list.count < Self.limit {
            list.append(Diagnostic(file: file, position: position, severity: severity, message: message))
        } else {
            dropped += 1
        }
    }
}

/// A text from the file in double quotes, fit for one line of a terminal: control characters escaped, cut after 60 characters.
package func quoted(_ text: String) -> String {
    var result = "\""
    for (count, scalar) in text.unicodeScalars.enumerated() {
        if count == 60 {
            result += "…"
            break
        }
        switch scalar {
        case "\"", "\\": result += "\\\(scalar)"
        case "\n": result += "\\n"
        case _ where scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format:
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
