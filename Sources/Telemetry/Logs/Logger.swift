import Glibc

/// The operator's log: one line per message, to standard error unless a test says otherwise.
///
///     log.info("listening", ["address": address, "port": port])
///
/// A message below the level costs one comparison: neither it nor its fields are evaluated.
package struct Logger: Sendable {
    /// `-v N` shows every level up to N.
    package enum Level: Int, Sendable, Comparable {
        case error = 0
        /// Also warnings.
        case info = 1
        case debug = 2
        case trace = 3

        package static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    }

    package typealias Fields = KeyValuePairs<String, any CustomStringConvertible>

    private let verbosity: Int
    private let format: LogFormat
    private let write: @Sendable ([UInt8]) -> Void

    /// - Parameter verbosity: the largest level that is written; larger than 3 is 3, negative only shows errors.
    /// - Parameter write: gets whole lines, one at a time, from any thread.
    package init(
        verbosity: Int = 1,
        format: LogFormat = .text,
        write: @escaping @Sendable ([UInt8]) -> Void = { Logger.writeToStandardError($0) }
    ) {
        self.verbosity = max(0, verbosity)
        self.format = format
        self.write = write
    }

    /// Whether messages of `level` are written.
    package func isEnabled(_ level: Level) -> Bool { level.rawValue <= verbosity }

    package func error(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        if isEnabled(.error) { emit(.error, "ERROR", message(), fields()) }
    }

    /// A warning: something is wrong that Apus goes on with. Shown from level 1.
    package func warning(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        if isEnabled(.info) { emit(.info, "WARN", message(), fields()) }
    }

    package func info(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        if isEnabled(.info) { emit(.info, "INFO", message(), fields()) }
    }

    package func debug(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        if isEnabled(.debug) { emit(.debug, "DEBUG", message(), fields()) }
    }

    package func trace(_ message: @autoclosure () -> String, _ fields: @autoclosure () -> Fields = [:]) {
        if isEnabled(.trace) { emit(.trace, "TRACE", message(), fields()) }
    }

    private func emit(_ level: Level, _ name: String, _ message: String, _ fields: Fields) {
        write(Self.line(name, message, fields, format, at: TelemetryClock.wallNanoseconds()))
    }

    static func line(
        _ level: String,
        _ message: String,
        _ fields: Fields,
        _ format: LogFormat,
        at wallNanoseconds: UInt64
    ) -> [UInt8] {
        switch format {
        case .json:
            var json = JSONWriter()
            json.object { json in
                json.member("time", time: wallNanoseconds)
                json.member("level", level.lowercased())
                json.member("message", message)
                for (name, value) in fields {
                    switch value {
                    case let number as any BinaryInteger: json.member(.init(name), raw: { $0.append(decimal: number) })
                    case let number as Double: json.member(.init(name), number)
                    case let truth as Bool: json.member(.init(name), truth)
                    default: json.member(.init(name), value.description.clipped(to: 4096))
                    }
                }
            }
            return json.bytes + [UInt8(ascii: "\n")]
        case .text:
            var bytes: [UInt8] = []
            bytes.append(rfc3339: wallNanoseconds)
            bytes.append(UInt8(ascii: " "))
            bytes.append(text: level)
            bytes.append(UInt8(ascii: " "))
            bytes.append(escaping: message)
            for (name, value) in fields {
                bytes.append(UInt8(ascii: " "))
                bytes.append(text: name)
                bytes.append(UInt8(ascii: "="))
                bytes.append(textValue: value.description.clipped(to: 4096))
            }
            bytes.append(UInt8(ascii: "\n"))
            return bytes
        }
    }

    /// Writes a line in one call, so that lines of several threads do not mix.
    package static func writeToStandardError(_ line: [UInt8]) {
        _ = Glibc.write(STDERR_FILENO, line, line.count)
    }
}
