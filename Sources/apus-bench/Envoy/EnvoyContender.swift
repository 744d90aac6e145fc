import Glibc

/// One way from a client to the model servers: Envoy alone, Envoy with an external processor, or another router in Envoy's place.
final class EnvoyContender {
    /// Whose CPU is counted: the processor or the router, which is what the ways differ in.
    enum Part: String, CaseIterable {
        case envoy
        case picker
        case upstream
        case generator
    }

    let key: String
    let title: String
    /// An HTTP router that stands in Envoy's place.
    let isRouter: Bool
    let port: Int
    private let envoy: ChildProcess?
    private let picker: ChildProcess?
    private let upstream: ChildProcess
    private var loads: [String: HTTPLoad] = [:]
    /// What each round found, by the key of the case.
    private(set) var rounds: [String: [EnvoyRound]] = [:]
    /// Requests that failed, and by which measurement.
    private(set) var failures: [String: Int] = [:]

    /// Envoy, with the processor that listens at the given address, or alone.
    init(_ key: String, _ title: String, envoy: EnvoyProcess, processor: ChildProcess?, upstream: ChildProcess) {
        self.key = key
        self.title = title
        isRouter = false
        port = envoy.port
        self.envoy = envoy.process
        picker = processor
        self.upstream = upstream
    }

    /// A router that listens at `port`.
    init(_ key: String, _ title: String, router: ChildProcess, port: Int, upstream: ChildProcess) {
        self.key = key
        self.title = title
        isRouter = true
        self.port = port
        envoy = nil
        picker = router
        self.upstream = upstream
    }

    // MARK: Measuring

    /// Connections and caches that a first request pays for.
    func warmUp(_ workload: EnvoyWorkload, _ plan: EnvoyPlan) throws {
        let result = try load(workload).run(.closed(connections: 16), seconds: plan.warmUpSeconds, limit: 5_000)
        note(result, "warm-up", workload)
    }

    func measure(_ workload: EnvoyWorkload, _ plan: EnvoyPlan) throws {
        let load = try load(workload)
        var round = EnvoyRound()
        if !workload.isStream {
            let single = try load.run(.closed(connections: 1), seconds: plan.singleSeconds)
            note(single, "one connection", workload)
            round.single = EnvoyRound.Latency(single)
            let paced = try load.run(.open(rate: plan.rate, connections: 512), seconds: plan.openSeconds)
            note(paced, "open loop", workload)
            round.paced = EnvoyRound.Latency(paced)
            round.lateness = paced.lateness.quantile(0.99)
        }
        round.busy = try measureBusy(load, workload, plan, connections: 16)
        if workload.hasCrowd, !isRouter { round.crowd = try measureBusy(load, workload, plan, connections: 150) }
        rounds[workload.key, default: []].append(round)
    }

    private func measureBusy(
        _ load: HTTPLoad,
        _ workload: EnvoyWorkload,
        _ plan: EnvoyPlan,
        connections: Int
    ) throws -> EnvoyRound.Busy {
        let before = try cpuNanoseconds()
        let result = try load.run(.closed(connections: connections), seconds: plan.busySeconds)
        let after = try cpuNanoseconds()
        note(result, "\(connections) connections", workload)
        let count = Double(max(1, result.requests))
        var busy = EnvoyRound.Busy(requestsPerSecond: Double(result.requests) / result.seconds)
        busy.latency = EnvoyRound.Latency(result)
        for (part, nanoseconds) in after { busy.cpu[part] = Double(nanoseconds - (before[part] ?? 0)) / 1e3 / count }
        busy.cpu[.generator] = Double(result.cpuNanoseconds) / 1e3 / count
        return busy
    }

    private func cpuNanoseconds() throws -> [Part: Int] {
        var used = [Part.upstream: try processCPUNanoseconds(of: upstream.pid)]
        if let envoy { used[.envoy] = try processCPUNanoseconds(of: envoy.pid) }
        if let picker { used[.picker] = try processCPUNanoseconds(of: picker.pid) }
        return used
    }

    private func load(_ workload: EnvoyWorkload) throws -> HTTPLoad {
        if let load = loads[workload.key] { return load }
        let load = try HTTPLoad(port: port, requests: workload.requests(port: port))
        load.expectedBodyBytes = workload.answerBytes
        loads[workload.key] = load
        return load
    }

    private func note(_ result: HTTPLoadResult, _ what: String, _ workload: EnvoyWorkload) {
        for (failure, count) in result.failures {
            failures["\(title), \(workload.title), \(what): \(failure)", default: 0] += count
        }
        if result.requests == 0 { failures["\(title), \(workload.title), \(what): no request was answered"] = 1 }
    }
}

/// What one round of one contender found for one workload; times in seconds.
struct EnvoyRound {
    struct Latency {
        let p50: Double
        let p99: Double
        let firstByteP50: Double
        let firstByteP99: Double

        init(_ result: HTTPLoadResult) {
            p50 = result.latencies.quantile(0.5)
            p99 = result.latencies.quantile(0.99)
            firstByteP50 = result.firstByteLatencies.quantile(0.5)
            firstByteP99 = result.firstByteLatencies.quantile(0.99)
        }
    }

    /// Many connections, none of which waits for another.
    struct Busy {
        let requestsPerSecond: Double
        var latency: Latency?
        /// Microseconds per request.
        var cpu: [EnvoyContender.Part: Double] = [:]
    }

    /// One connection; not of streams.
    var single: Latency?
    /// An open loop; not of streams.
    var paced: Latency?
    /// The 99th percentile of how late the generator itself was in the open loop.
    var lateness: Double?
    var busy: Busy?
    /// 150 in flight.
    var crowd: Busy?
}

/// Requests of one size that are answered in one way.
struct EnvoyWorkload {
    let bodyBytes: Int
    let isStream: Bool
    /// What a good answer's body has.
    let answerBytes: Int
    /// Measured with 150 in flight, too.
    var hasCrowd = false

    var key: String { "\(bodyBytes)_\(isStream ? "stream" : "json")" }
    var title: String { "\(Self.text(bodyBytes)) request, \(isStream ? "100 SSE chunks" : "one JSON body")" }

    static func text(_ bytes: Int) -> String {
        bytes % 1024 == 0 ? "\(bytes / 1024) KiB" : "\(bytes / 1000) KB"
    }

    /// Requests of 64 conversations that share a system prompt.
    func requests(port: Int) -> [[UInt8]] {
        (0..<64).map { family in
            let body = Frames.requestBody(family: family, byteCount: bodyBytes, isStream: isStream)
            let head = """
                POST /v1/completions HTTP/1.1\r
                host: 127.0.0.1:\(port)\r
                user-agent: OpenAI/Python 1.99.1\r
                accept: application/json\r
                content-type: application/json\r
                authorization: Bearer sk-0123456789abcdef0123456789abcdef\r
                content-length: \(body.count)\r
                \r

                """
            return Array(head.utf8) + body
        }
    }
}

/// How long each part of a round takes.
struct EnvoyPlan {
    var rounds = 5
    var warmUpSeconds = 1.0
    var singleSeconds = 1.0
    var openSeconds = 4.0
    var busySeconds = 2.0
    /// Requests a second of the open loop.
    var rate = 200.0

    static let short = EnvoyPlan(
        rounds: 1,
        warmUpSeconds: 0.2,
        singleSeconds: 0.1,
        openSeconds: 0.3,
        busySeconds: 0.2
    )
}
