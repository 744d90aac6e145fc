import Bytes
import EngineSimulation

/// How the engine behaves, and how it misbehaves.
extension Setting {
    static let latencies: [Setting] = [
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
        duration("kv-cache-transfer-latency", "of every transfer of KV", \.transferLatency),
        duration("kv-cache-transfer-time-per-token", "for each token whose KV is transferred", \.transferTimePerToken),
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

    static let memory: [Setting] = [
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

    static let failures: [Setting] = [
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
            name: "fault",
            standard: "none",
            help: "rules such as prefill-503=0.01 or decode-slow,delay=5ms; several words, see below",
            effect: .list { o, v throws(OptionError) in
                for text in v { o.faultRules += try FaultRule.list(text) }
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
}
