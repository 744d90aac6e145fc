import Bytes
import EngineSimulation

/// A flag or a setting that cannot be used, in words for the person who gave it.
struct OptionError: Error {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}

/// What the answers are made of.
enum AnswerMode: String, Sendable {
    /// The prompt's own words, as far as the token limit allows.
    case echo
    /// Words drawn from a list.
    case random
}

/// Everything that the command line sets.
struct Options: Sendable {
    var count = 1
    var address = "127.0.0.1"
    /// Server i listens on the i-th address after `address`, all on the same ports, as pods do.
    var hasAddressPerServer = false
    var port = 8000
    var model = "simulated-model"
    var servedModelNames: [String] = []
    var adapters: [String] = []
    var mode = AnswerMode.random
    /// One for each server; the last repeats.
    var roles: [EngineRole] = []
    var disaggregation = DisaggregationOptions()
    var faultRules: [FaultRule] = []
    /// nil: no such listener.
    var controlPort: Int?
    var podName = "apus-sim"
    var podNamespace = ""
    var engine = EngineConfiguration()
    var faults = Faults()
    var fakeMetrics: FakeMetrics?
    var enableRequestIDHeaders = false
    var maxRequestBodyMegabytes = 4
    var defaultEmbeddingDimensions = 384

    var modelNames: [String] { servedModelNames.isEmpty ? [model] : servedModelNames }

    /// Where a server listens.
    func address(of server: Int) -> String {
        guard hasAddressPerServer, let dot = address.lastIndex(of: "."), let last = Int(address[dot...].dropFirst())
        else { return address }
        return "\(address[..<dot]).\(last + server)"
    }

    func role(of server: Int) -> EngineRole? {
        roles.isEmpty ? nil : roles[min(server, roles.count - 1)]
    }

    /// Checks what only makes sense together.
    func validate() throws(OptionError) {
        if count < 1 { throw OptionError("--count must be at least 1") }
        if port != 0, port + count - 1 > 65535 { throw OptionError("--port and --count reach past port 65535") }
        if hasAddressPerServer {
            let last = address.split(separator: ".").last.flatMap { Int($0) }
            guard address.split(separator: ".").count == 4, let last, last + count - 1 <= 255 else {
                throw OptionError("--address-per-server needs an IPv4 --address with room for --count after it")
            }
        }
        if roles.count > count { throw OptionError("--role names more roles than there are servers") }
        if let first = disaggregation.bootstrapPort, first != 0, first + count - 1 > 65535 {
            throw OptionError("--bootstrap-port and --count reach past port 65535")
        }
        try latency(engine.latency)
    }

    func latency(_ latency: LatencyModel) throws(OptionError) {
        for (name, deviation, mean) in [
            ("time-to-first-token", latency.timeToFirstTokenDeviation, latency.timeToFirstToken),
            ("inter-token-latency", latency.interTokenLatencyDeviation, latency.interTokenLatency),
        ] where deviation * 10 > mean * 3 {
            throw OptionError("\(name)-std-dev must not be more than 30 % of \(name)")
        }
    }
}

/// Durations as Go writes them: `100ms`, `1.5s`, `1m30s`, `750us`. A bare number is milliseconds.
enum DurationText {
    static func read(_ text: String) -> Duration? {
        if let milliseconds = Int64(text) { return milliseconds >= 0 ? .milliseconds(milliseconds) : nil }
        var rest = Substring(text)
        var nanoseconds = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { !$0.isNumber && $0 != "." }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(digits), let scale = units[String(unit)] else { return nil }
            nanoseconds += value * scale
        }
        guard !text.isEmpty, nanoseconds.isFinite, nanoseconds <= 4e18 else { return nil }
        return .nanoseconds(Int64(nanoseconds))
    }

    static func write(_ duration: Duration) -> String {
        let nanoseconds = duration.nanoseconds
        return switch nanoseconds {
        case 0: "0"
        case _ where nanoseconds % 1_000_000_000 == 0: "\(nanoseconds / 1_000_000_000)s"
        case _ where nanoseconds % 1_000_000 == 0: "\(nanoseconds / 1_000_000)ms"
        case _ where nanoseconds % 1_000 == 0: "\(nanoseconds / 1_000)us"
        default: "\(nanoseconds)ns"
        }
    }

    private static let units: [String: Double] = [
        "ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 6e10, "h": 3.6e12,
    ]
}
