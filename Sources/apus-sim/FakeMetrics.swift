/// Values that the metrics page tells instead of the true ones.
struct FakeMetrics: Sendable, Equatable {
    struct Adapters: Sendable, Equatable {
        /// Names with commas between.
        var running: String
        var waiting: String
        /// Unix time.
        var timestamp: Double
    }

    var runningRequests: Int?
    var waitingRequests: Int?
    var kvCacheUsage: Double?
    var adapters: [Adapters]?
    var promptTokens: Int?
    var generationTokens: Int?
    var prefixCacheHits: Int?
    var prefixCacheQueries: Int?

    /// Takes the values that are named and leaves the others.
    mutating func update(from json: JSONValue) throws(OptionError) {
        guard let members = json.members else { throw OptionError("fake-metrics must be a JSON object") }
        for (name, value) in members where !value.isNull {
            switch name {
            case "running-requests": runningRequests = try count(name, value)
            case "waiting-requests": waitingRequests = try count(name, value)
            case "total-prompt-tokens": promptTokens = try count(name, value)
            case "total-generation-tokens": generationTokens = try count(name, value)
            case "prefix-cache-hits": prefixCacheHits = try count(name, value)
            case "prefix-cache-queries": prefixCacheQueries = try count(name, value)
            case "kv-cache-usage":
                guard let usage = value.double, (0...1).contains(usage) else {
                    throw OptionError("fake-metrics: kv-cache-usage must be a number from 0 to 1")
                }
                kvCacheUsage = usage
            case "loras": adapters = try adapters(value)
            default: throw OptionError("fake-metrics: \(name) is not known")
            }
        }
    }

    var json: JSONValue {
        var members: [(String, JSONValue)] = []
        if let runningRequests { members.append(("running-requests", .integer(runningRequests))) }
        if let waitingRequests { members.append(("waiting-requests", .integer(waitingRequests))) }
        if let kvCacheUsage { members.append(("kv-cache-usage", .number(kvCacheUsage))) }
        if let adapters {
            let list = adapters.map { adapters in
                JSONValue.object([
                    ("running", .string(adapters.running)),
                    ("waiting", .string(adapters.waiting)),
                    ("timestamp", .number(adapters.timestamp)),
                ])
            }
            members.append(("loras", .array(list)))
        }
        return .object(members)
    }

    private func count(_ name: String, _ value: JSONValue) throws(OptionError) -> Int {
        guard let count = value.integer, count >= 0 else {
            throw OptionError("fake-metrics: \(name) must be a whole number from 0 on")
        }
        return count
    }

    private func adapters(_ value: JSONValue) throws(OptionError) -> [Adapters] {
        guard let elements = value.elements else { throw OptionError("fake-metrics: loras must be an array") }
        return elements.map { element in
            Adapters(
                running: element["running"]?.string ?? "",
                waiting: element["waiting"]?.string ?? "",
                timestamp: element["timestamp"]?.double ?? 0
            )
        }
    }
}
