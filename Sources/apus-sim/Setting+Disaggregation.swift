import EngineSimulation

/// What a server of a disaggregated deployment is for.
enum EngineRole: String, Sendable {
    case prefill
    case decode
    case encode
    case both
}

/// Whose HTTP behaviour is simulated.
enum EngineKind: String, Sendable {
    case vllm
    case sglang
    case trtllm
}

/// How prefills of the vLLM kind give their KV to decodes.
enum KVConnector: String, Sendable {
    case none
    case nixl
    case mooncake
    case offloading
    case sharedStorage = "shared-storage"
}

/// How encoders give embeddings away.
enum ECConnector: String, Sendable {
    case none
    /// Through storage that all share: answers carry nothing.
    case example
    /// Answers name where each item's embedding can be had.
    case nixl
    /// The same in the newer form.
    case nixl2 = "nixl-v2"
}

enum KVFailurePolicy: String, Sendable {
    case fail
    case recompute
}

/// What a decode does whose parameters are not complete.
enum PartialParametersPolicy: String, Sendable {
    case local
    case fail
    case hang
    case exit
}

/// The settings of disaggregated serving.
struct DisaggregationOptions: Sendable {
    var engine = EngineKind.vllm
    var kvConnector = KVConnector.none
    var ecConnector = ECConnector.none
    var lease = Duration.seconds(30)
    var failurePolicy = KVFailurePolicy.fail
    var partialParameters = PartialParametersPolicy.local
    /// Whether what has expired or was redeemed fails; else stale blocks are read.
    var isStrict = true
    var bootstrapTimeout = Duration.seconds(300)
    var waitingTimeout = Duration.seconds(300)
    var abortTimeout = Duration.seconds(480)
    /// nil: no listener of its own.
    var bootstrapPort: Int?
    var sharedStoragePath: String?
}

extension Setting {
    static let disaggregation: [Setting] = [
        choice("engine", "vllm", "vllm, sglang or trtllm", \.engine),
        Setting(
            name: "role",
            standard: "none",
            help: "prefill, decode, encode or both; with commas between one per server, the last repeats",
            effect: .atStart { o, v throws(OptionError) in
                o.roles = try v.split(separator: ",").map { name throws(OptionError) in
                    guard let role = EngineRole(rawValue: String(name)) else {
                        throw OptionError("\(name) is none of prefill, decode, encode, both")
                    }
                    return role
                }
            }
        ),
        choice("kv-connector", "none", "none, nixl, mooncake, offloading or shared-storage", \.kvConnector),
        time("kv-lease", "30s", "how long a prefill's blocks wait for their decode", \.lease),
        choice("kv-load-failure-policy", "fail", "fail or recompute", \.failurePolicy),
        choice(
            "kv-partial",
            "local",
            "incomplete parameters: local (prefill), fail, hang or exit, as vLLM 0.32 may",
            \.partialParameters
        ),
        Setting(
            name: "kv-strict",
            standard: "true",
            help: "expired or used parameters fail; else stale blocks are read, as vLLM 0.32 does",
            effect: .toggle { o, on in o.disaggregation.isStrict = on }
        ),
        time("kv-abort-timeout", "480s", "the same for mooncake, offloading and trtllm", \.abortTimeout),
        Setting(
            name: "bootstrap-port",
            standard: "the server's own",
            help: "first port of listeners for bootstrap and KV transfer; 0: free ones",
            effect: .atStart { o, v throws(OptionError) in
                o.disaggregation.bootstrapPort = try whole(v, 0...65535)
            }
        ),
        time("bootstrap-timeout", "300s", "how long a prefill of sglang waits for its decode", \.bootstrapTimeout),
        time("waiting-timeout", "300s", "how long a decode waits for its prefill", \.waitingTimeout),
        Setting(
            name: "shared-storage-path",
            standard: "in memory",
            help: "directory of the shared KV storage; without it the servers of one process share one",
            effect: .atStart { o, v in o.disaggregation.sharedStoragePath = v }
        ),
        choice("ec-connector", "none", "of encoders: none, example, nixl or nixl-v2", \.ecConnector),
        Setting(
            name: "control-port",
            standard: "none",
            help: "port of a listener for /sim and /admin only, which no fault reaches; 0: a free one",
            effect: .atStart { o, v throws(OptionError) in o.controlPort = try whole(v, 0...65535) }
        ),
    ]

    private static func choice<Value: RawRepresentable & Sendable>(
        _ name: String,
        _ standard: String,
        _ help: String,
        _ path: any WritableKeyPath<DisaggregationOptions, Value> & Sendable
    ) -> Setting where Value.RawValue == String {
        Setting(
            name: name,
            standard: standard,
            help: help,
            effect: .atStart { o, v throws(OptionError) in
                guard let value = Value(rawValue: v) else { throw OptionError("\(v) is no \(name)") }
                o.disaggregation[keyPath: path] = value
            }
        )
    }

    private static func time(
        _ name: String,
        _ standard: String,
        _ help: String,
        _ path: any WritableKeyPath<DisaggregationOptions, Duration> & Sendable
    ) -> Setting {
        Setting(
            name: name,
            standard: standard,
            help: help,
            effect: .atStart { o, v throws(OptionError) in
                guard let duration = DurationText.read(v) else {
                    throw OptionError("\(v) is no duration such as 100ms")
                }
                o.disaggregation[keyPath: path] = duration
            }
        )
    }
}
