import Bytes
import EngineSimulation

/// One setting: a flag of the command line, and where it can change at run time also a member of `POST /admin/config`.
struct Setting: Sendable {
    enum Effect: Sendable {
        /// Only a flag.
        case atStart(@Sendable (inout Options, String) throws(OptionError) -> Void)
        /// Takes several words.
        case list(@Sendable (inout Options, [String]) throws(OptionError) -> Void)
        /// Needs no value; `--no-NAME` turns it off.
        case toggle(@Sendable (inout Options, Bool) -> Void)
        /// Also at run time.
        case live(@Sendable (inout LiveSettings, String) throws(OptionError) -> Void)
        case liveToggle(@Sendable (inout LiveSettings, Bool) -> Void)
    }

    let name: String
    let standard: String
    let help: String
    let effect: Effect
}

/// What can be changed while the server runs.
struct LiveSettings: Sendable {
    var latency: LatencyModel
    var mode: AnswerMode
    var faults: Faults
    var fakeMetrics: FakeMetrics?
}

extension Setting {
    static let all: [Setting] = serving + latencies + memory + disaggregation + failures

    static func duration(
        _ name: String,
        _ help: String,
        _ path: any WritableKeyPath<LatencyModel, Duration> & Sendable
    ) -> Setting {
        Setting(
            name: name,
            standard: "0",
            help: "time " + help,
            effect: .live { s, v throws(OptionError) in
                guard let duration = DurationText.read(v) else {
                    throw OptionError("\(v) is no duration such as 100ms")
                }
                s.latency[keyPath: path] = duration
            }
        )
    }

    static func whole(_ text: String, _ range: ClosedRange<Int>) throws(OptionError) -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw OptionError("\(text) is no whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    static func adapterName(_ text: String) throws(OptionError) -> String {
        guard text.hasPrefix("{") else { return String(text.prefix { $0 != "=" }) }
        guard let json = try? JSONReader.read(Array(text.utf8)), let name = json["name"]?.string, !name.isEmpty else {
            throw OptionError("\(text) is no JSON object with a name")
        }
        return name
    }
}
