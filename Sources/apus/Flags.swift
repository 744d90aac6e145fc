internal import Configuration

/// A command line that cannot be understood, in one sentence.
struct UsageError: Error, CustomStringConvertible {
    let description: String
}

/// One flag of `apus serve`.
struct Flag: Sendable {
    typealias Target<Value> = any WritableKeyPath<ServeOptions, Value> & Sendable

    enum Kind: Sendable {
        case bool(Target<Bool>)
        case text(Target<String>)
        /// Values with commas between them; each time that it is given adds some.
        case list(Target<String>)
        case integer(Target<Int>, ClosedRange<Int>)
        /// With a unit, at least the given one.
        case duration(Target<Duration>, atLeast: Duration)
        /// A count of bytes, with or without a suffix such as `MiB`.
        case bytes(Target<Int>, ClosedRange<Int>)
        case choice(Target<String>, [String])
        /// Taken so that old arguments start. `isBool`: needs no value.
        case withoutEffect(isBool: Bool)
    }

    let name: String
    let kind: Kind
    let help: String

    static let all: [Flag] =
        [
            Flag(name: "grpc-port", kind: .integer(\.grpcPort, ports), help: "port of external processing"),
            Flag(name: "grpc-health-port", kind: .integer(\.healthPort, ports), help: "port of gRPC health, plaintext"),
            Flag(name: "metrics-port", kind: .integer(\.metricsPort, ports), help: "HTTP port: metrics, health, debug"),
            Flag(name: "bind-address", kind: .text(\.bindAddress), help: "address of all three"),
            Flag(name: "config-file", kind: .text(\.configFile), help: "an EndpointPickerConfig"),
            Flag(name: "config-text", kind: .text(\.configText), help: "the same, as text"),
            Flag(name: "endpoints", kind: .text(\.endpoints), help: "a fixed pool: host:port,host:port"),
            Flag(name: "pool-name", kind: .text(\.poolName), help: "the pool's name"),
            Flag(name: "pool-namespace", kind: .text(\.poolNamespace), help: "the pool's namespace"),
            Flag(name: "pool-group", kind: .text(\.poolGroup), help: "the API group of the InferencePool"),
            Flag(name: "endpoint-selector", kind: .text(\.endpointSelector), help: "labels of the pods to serve"),
            Flag(name: "endpoint-target-ports", kind: .list(\.endpointTargetPorts), help: "their ports"),
            Flag(
                name: "disable-endpoint-subset-filter",
                kind: .bool(\.disableSubsetFilter),
                help: "ignore the gateway's endpoint subset"
            ),
            Flag(
                name: "model-server-metrics-scheme",
                kind: .choice(\.metricsScheme, ["http", "https"]),
                help: "how endpoints are scraped, unless the configuration says so"
            ),
            Flag(
                name: "model-server-metrics-https-insecure-skip-verify",
                kind: .bool(\.metricsInsecureSkipVerify),
                help: "take any certificate of a scraped endpoint, unless the configuration says so"
            ),
            Flag(
                name: "refresh-metrics-interval",
                kind: .duration(\.refreshMetricsInterval, atLeast: .milliseconds(1)),
                help: "time between two scrapes of an endpoint"
            ),
            Flag(
                name: "refresh-prometheus-metrics-interval",
                kind: .duration(\.refreshPrometheusInterval, atLeast: .milliseconds(1)),
                help: "age of the pool's gauges"
            ),
            Flag(
                name: "metrics-staleness-threshold",
                kind: .duration(\.metricsStalenessThreshold, atLeast: .milliseconds(1)),
                help: "age from which an endpoint's metrics are stale"
            ),
            Flag(name: "secure-serving", kind: .bool(\.secureServing), help: "TLS on the external-processing port"),
            Flag(name: "cert-path", kind: .text(\.certPath), help: "folder with tls.crt and tls.key"),
            Flag(name: "enable-cert-reload", kind: .bool(\.enableCertReload), help: "watch that folder"),
            Flag(
                name: "client-ca-file",
                kind: .text(\.clientCAFile),
                help: "verify client certificates against this CA"
            ),
            Flag(name: "tls-min-version", kind: .text(\.tlsMinVersion), help: "lowest TLS version"),
            Flag(name: "tls-cipher-suites", kind: .text(\.tlsCipherSuites), help: "TLS suites"),
            Flag(
                name: "metrics-endpoint-auth",
                kind: .bool(\.metricsEndpointAuth),
                help: "authenticate metrics readers"
            ),
            Flag(
                name: "health-checking",
                kind: .bool(\.healthChecking),
                help: "gRPC health on the external-processing port"
            ),
            Flag(name: "ha-enable-leader-election", kind: .bool(\.leaderElection), help: "only one replica is ready"),
            Flag(
                name: "drain-timeout",
                kind: .duration(\.drainTimeout, atLeast: .zero),
                help: "time that requests get after SIGTERM"
            ),
            Flag(
                name: "grpc-max-recv-msg-size",
                kind: .bytes(\.maxReceiveMessageBytes, 1024...(1 << 30)),
                help: "largest message from the gateway"
            ),
            Flag(
                name: "grpc-max-send-msg-size",
                kind: .bytes(\.maxSendMessageBytes, 0...(1 << 30)),
                help: "largest message to the gateway, 0 for any"
            ),
            Flag(
                name: "max-request-body",
                kind: .bytes(\.maxRequestBodyBytes, 1...(1 << 40)),
                help: "longest request body; longer ones get 413"
            ),
            Flag(
                name: "max-streams",
                kind: .integer(\.maxStreams, 1...10_000_000),
                help: "most requests at once; more are refused with RESOURCE_EXHAUSTED"
            ),
            Flag(
                name: "emit-endpoint-scores",
                kind: .bool(\.emitEndpointScores),
                help: "tell the picked endpoints' scores in dynamic metadata"
            ),
            Flag(
                name: "io-threads",
                kind: .integer(\.ioThreads, 0...1024),
                help: "gRPC pollers, 0 for one per four cores"
            ),
            Flag(name: "tracing", kind: .bool(\.tracing), help: "export traces where an OTLP endpoint is set"),
            Flag(name: "v", kind: .integer(\.verbosity, 0...100), help: "verbosity of the log"),
            Flag(name: "log-format", kind: .choice(\.logFormat, ["text", "json"]), help: "text or json"),
        ] + withoutEffect

    private static let ports = 0...65535

    private static let withoutEffect: [Flag] =
        [
            ("enable-pprof", true), ("enable-grpc-stream-metrics", true), ("allow-experimental-plugins", true),
            ("zap-devel", true), ("zap-encoder", false), ("zap-log-level", false), ("zap-stacktrace-level", false),
            ("zap-time-encoding", false), ("model-server-metrics-path", false),
            ("model-server-metrics-port", false), ("metrics-client-ca-file", false),
            ("metrics-cert-dir", false), ("total-queued-requests-metric", false),
            ("total-running-requests-metric", false), ("kv-cache-usage-percentage-metric", false),
            ("lora-info-metric", false), ("cache-info-metric", false),
        ].map { Flag(name: $0, kind: .withoutEffect(isBool: $1), help: "accepted, without effect") }
}

extension ServeOptions {
    /// Reads a command line: `--name=value`, `--name value`, and for booleans `--name`; one dash is as good as two.
    init(parsing arguments: [String]) throws(UsageError) {
        let known = Dictionary(uniqueKeysWithValues: Flag.all.map { ($0.name, $0) })
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-"), argument.count > 1 else {
                throw UsageError(description: "unexpected argument \"\(argument)\"")
            }
            let text = argument.drop { $0 == "-" }
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts.first ?? "")
            guard let flag = known[name] else {
                let hint = ClosestName.hint(for: name, among: known.keys.sorted())
                throw UsageError(description: "unknown flag --\(name)\(hint)")
            }
            var value = parts.count > 1 ? String(parts[1]) : nil
            if value == nil {
                if flag.isBool {
                    // A boolean takes the next word only when it is one.
                    value = rest.first.flatMap { ScalarReading.bool($0) } == nil ? "true" : rest.popFirst()
                } else {
                    value = rest.popFirst()
                }
            }
            guard let value else { throw UsageError(description: "flag --\(name) needs a value") }
            try set(flag, value)
            given.insert(name)
        }
    }

    private mutating func set(_ flag: Flag, _ value: String) throws(UsageError) {
        func invalid(_ expected: String) -> UsageError {
            UsageError(description: "--\(flag.name)=\(value): expected \(expected)")
        }
        switch flag.kind {
        case .bool(let target):
            guard let parsed = Self.bool(value) else { throw invalid("true or false") }
            self[keyPath: target] = parsed
        case .text(let target):
            self[keyPath: target] = value
        case .list(let target):
            self[keyPath: target] += self[keyPath: target].isEmpty ? value : ",\(value)"
        case .integer(let target, let range):
            guard let parsed = Int(value), range.contains(parsed) else {
                throw invalid("a number from \(range.lowerBound) to \(range.upperBound)")
            }
            self[keyPath: target] = parsed
        case .duration(let target, let least):
            guard let parsed = ScalarReading.duration(value), parsed >= least else {
                throw invalid("a duration such as 50ms or 5s, at least \(least)")
            }
            self[keyPath: target] = parsed
        case .bytes(let target, let range):
            let digits = value.hasSuffix("B") ? String(value.dropLast()) : value
            guard let parsed = ScalarReading.quantity(digits), range.contains(parsed) else {
                throw invalid("a size such as 4MiB, from \(range.lowerBound) to \(range.upperBound) bytes")
            }
            self[keyPath: target] = parsed
        case .choice(let target, let choices):
            guard choices.contains(value) else { throw invalid(choices.joined(separator: " or ")) }
            self[keyPath: target] = value
        case .withoutEffect:
            break
        }
    }

    /// As Go's flags read booleans.
    private static func bool(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T": true
        case "0", "f", "F": false
        default: ScalarReading.bool(text)
        }
    }
}

extension Flag {
    fileprivate var isBool: Bool {
        switch kind {
        case .bool, .withoutEffect(isBool: true): true
        default: false
        }
    }

    /// The flags as `--help` shows them.
    static var usage: String {
        let names = all.filter { if case .withoutEffect = $0.kind { false } else { true } }
        let width = names.map(\.name.count).max() ?? 0
        let lines = names.map { flag in
            "  --\(flag.name)" + String(repeating: " ", count: width - flag.name.count + 2) + flag.help
        }
        return lines.joined(separator: "\n")
    }
}
