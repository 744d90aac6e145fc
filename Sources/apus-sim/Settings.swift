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
    static let all: [Setting] = serving + latencies + memory + failures

    private static let serving: [Setting] = [
        Setting(
            name: "count",
            standard: "1",
            help: "servers in this process, on consecutive ports",
            effect: .atStart { o, v throws(OptionError) in
                o.count = try whole(v, 1...4096)
            }
        ),
        Setting(
            name: "address",
            standard: "127.0.0.1",
            help: "address to listen on",
            effect: .atStart { o, v in o.address = v }
        ),
        Setting(
            name: "port",
            standard: "8000",
            help: "first port; 0 gives every server a free one",
            effect: .atStart { o, v throws(OptionError) in
                o.port = try whole(v, 0...65535)
            }
        ),
        Setting(
            name: "model",
            standard: "",
            help: "the base model's name; must be given",
            effect: .atStart { o, v in o.model = v }
        ),
        Setting(
            name: "served-model-name",
            standard: "the model",
            help: "names that requests may use; several words",
            effect: .list { o, v in o.servedModelNames += v }
        ),
        Setting(
            name: "lora-modules",
            standard: "none",
            help: "LoRA adapters; several words, each a name, NAME=PATH or JSON with \"name\"",
            effect: .list { o, v throws(OptionError) in o.adapters += try v.map(adapterName) }
        ),
        Setting(
            name: "max-loras",
            standard: "1",
            help: "LoRA adapters in one batch",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.maxLoras = try whole(v, 1...1_000_000)
            }
        ),
        Setting(
            name: "max-model-len",
            standard: "1024",
            help: "tokens of prompt and answer together",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.maxModelLen = try whole(v, 1...100_000_000)
            }
        ),
        Setting(
            name: "max-num-seqs",
            standard: "5",
            help: "requests that run at the same time",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.maxNumSeqs = try whole(v, 1...1_000_000)
            }
        ),
        Setting(
            name: "max-waiting-queue-length",
            standard: "1000",
            help: "requests that may wait; one more is answered 429",
            effect: .atStart { o, v throws(OptionError) in o.engine.maxWaitingQueueLength = try whole(v, 1...10_000_000)
            }
        ),
        Setting(
            name: "mode",
            standard: "random",
            help: "what answers are made of: random or echo",
            effect: .live { s, v throws(OptionError) in
                guard let mode = AnswerMode(rawValue: v) else { throw OptionError("\(v) is neither random nor echo") }
                s.mode = mode
            }
        ),
        Setting(
            name: "seed",
            standard: "from the system",
            help: "seed of all random choices",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.seed = UInt64(try whole(v, 0...Int.max))
            }
        ),
        Setting(
            name: "max-request-body-size-mb",
            standard: "4",
            help: "larger requests are answered 413",
            effect: .atStart { o, v throws(OptionError) in o.maxRequestBodyMegabytes = try whole(v, 1...512) }
        ),
        Setting(
            name: "enable-request-id-headers",
            standard: "false",
            help: "answers carry the request's x-request-id",
            effect: .toggle { o, on in o.enableRequestIDHeaders = on }
        ),
        Setting(
            name: "default-embedding-dimensions",
            standard: "384",
            help: "length of embeddings when a request names none",
            effect: .atStart { o, v throws(OptionError) in o.defaultEmbeddingDimensions = try whole(v, 1...65536) }
        ),
        Setting(
            name: "pod-name",
            standard: "$POD_NAME or apus-sim",
            help: "for x-inference-pod: this, a dash and the server's number",
            effect: .atStart { o, v in o.podName = v }
        ),
        Setting(
            name: "pod-namespace",
            standard: "$POD_NAMESPACE",
            help: "for x-inference-namespace",
            effect: .atStart { o, v in o.podNamespace = v }
        ),
        Setting(name: "role", standard: "", help: "told by GET /admin/config", effect: .atStart { o, v in o.role = v }),
    ]

    private static let latencies: [Setting] = [
        Setting(
            name: "latency-calculator",
            standard: "\"\"",
            help: "constant, per-token, or \"\" for constant when time-to-first-token is set",
            effect: .live { s, v throws(OptionError) in
                guard let calculator = LatencyModel.Calculator(rawValue: v) else {
                    throw OptionError("\(v) is neither constant nor per-token")
                }
                s.latency.calculator = calculator
            }
        ),
        duration("time-to-first-token", "until the first token, whatever the prompt", \.timeToFirstToken),
        duration("time-to-first-token-std-dev", "its standard deviation, at most 30 %", \.timeToFirstTokenDeviation),
        duration("prefill-overhead", "of every prefill", \.prefillOverhead),
        duration("prefill-time-per-token", "for each token that is not cached", \.prefillTimePerToken),
        duration("prefill-time-std-dev", "standard deviation of the whole prefill time", \.prefillTimeDeviation),
        duration("inter-token-latency", "between two tokens", \.interTokenLatency),
        duration("inter-token-latency-std-dev", "its standard deviation, at most 30 %", \.interTokenLatencyDeviation),
        Setting(
            name: "time-factor-under-load",
            standard: "1.0",
            help: "all times grow up to this factor as the batch fills",
            effect: .live { s, v throws(OptionError) in
                guard let factor = Double(v), factor >= 1, factor < 1e6 else {
                    throw OptionError("\(v) is no number from 1 on")
                }
                s.latency.timeFactorUnderLoad = factor
            }
        ),
    ]

    private static let memory: [Setting] = [
        Setting(
            name: "enable-kvcache",
            standard: "true",
            help: "prefix cache (false in llm-d-inference-sim)",
            effect: .toggle { o, on in o.engine.cachesPrefixes = on }
        ),
        Setting(
            name: "kv-cache-size",
            standard: "1024",
            help: "blocks of the KV cache",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.kvCacheSize = try whole(v, 1...100_000_000)
            }
        ),
        Setting(
            name: "block-size",
            standard: "16",
            help: "tokens of a block: 8, 16, 32, 64 or 128",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.blockSize = try whole(v, 8...128)
                guard o.engine.blockSize.nonzeroBitCount == 1 else {
                    throw OptionError("\(v) is not 8, 16, 32, 64 or 128")
                }
            }
        ),
        Setting(
            name: "fake-metrics",
            standard: "none",
            help: "JSON: running-requests, waiting-requests, kv-cache-usage, loras, … told instead of the true values",
            effect: .live { s, v throws(OptionError) in
                let json: JSONValue
                do throws(JSONError) {
                    json = try JSONReader.read(Array(v.utf8))
                } catch {
                    throw OptionError("not JSON: \(error.message)")
                }
                guard !json.isNull else {
                    s.fakeMetrics = nil
                    return
                }
                var fake = s.fakeMetrics ?? FakeMetrics()
                try fake.update(from: json)
                s.fakeMetrics = fake
            }
        ),
    ]

    private static let failures: [Setting] = [
        Setting(
            name: "failure-injection-rate",
            standard: "0",
            help: "of 100 requests, so many fail",
            effect: .live { s, v throws(OptionError) in
                s.faults.failureInjectionRate = try whole(v, 0...100)
            }
        ),
        Setting(
            name: "failure-types",
            standard: "all",
            help: "with commas between: " + FailureType.allCases.map(\.rawValue).joined(separator: ", "),
            effect: .live { s, v throws(OptionError) in
                s.faults.failureTypes = try v.split(whereSeparator: { $0 == "," || $0 == " " }).map {
                    name throws(OptionError) in
                    guard let type = FailureType(rawValue: String(name)) else {
                        throw OptionError("\(name) is no failure type")
                    }
                    return type
                }
            }
        ),
        Setting(
            name: "hang",
            standard: "false",
            help: "take requests and never answer",
            effect: .liveToggle { s, on in s.faults.hangs = on }
        ),
        Setting(
            name: "drop",
            standard: "false",
            help: "close the connection of requests",
            effect: .liveToggle { s, on in s.faults.drops = on }
        ),
        Setting(
            name: "cut-after-tokens",
            standard: "never",
            help: "cut streams after so many tokens; -1: never",
            effect: .live { s, v throws(OptionError) in
                let tokens = try whole(v, -1...1_000_000_000)
                s.faults.cutAfterTokens = tokens < 0 ? nil : tokens
            }
        ),
        Setting(
            name: "metrics-status",
            standard: "200",
            help: "status of /metrics",
            effect: .live { s, v throws(OptionError) in
                s.faults.metricsStatus = try whole(v, 200...599)
            }
        ),
        Setting(
            name: "metrics-hang",
            standard: "false",
            help: "take scrapes and never answer",
            effect: .liveToggle { s, on in s.faults.metricsHang = on }
        ),
        Setting(
            name: "health-status",
            standard: "200",
            help: "status of /health",
            effect: .live { s, v throws(OptionError) in
                s.faults.healthStatus = try whole(v, 200...599)
            }
        ),
    ]

    private static func duration(
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

    private static func whole(_ text: String, _ range: ClosedRange<Int>) throws(OptionError) -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw OptionError("\(text) is no whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private static func adapterName(_ text: String) throws(OptionError) -> String {
        guard text.hasPrefix("{") else { return String(text.prefix { $0 != "=" }) }
        guard let json = try? JSONReader.read(Array(text.utf8)), let name = json["name"]?.string, !name.isEmpty else {
            throw OptionError("\(text) is no JSON object with a name")
        }
        return name
    }
}
