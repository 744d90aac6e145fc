import Bytes
import EngineSimulation
import HTTPServer

/// One simulated model server: an engine, its metrics, and what its HTTP server answers.
final class SimulatedServer: Sendable {
    struct State: Sendable {
        var engine: Engine
        var random: SeededGenerator
        var metrics: ServerMetrics
        var live: LiveSettings
        var log = RequestLog()
        /// By number in the log.
        var active: [Int: ActiveRequest] = [:]
        var numbers: [EngineRequestID: Int] = [:]
        var port = 0
        var requestCount = 0
        /// The page as it was last rendered, until something changes.
        var page: [UInt8]?
        var rules: [FaultRule]
        var ledger: KVLedger
        var meetings = Rendezvous<SideChannelReply>()
        /// Prefills that have ended and wait for their decode, by name.
        var finished: [String: FinishedPrefill] = [:]
        /// Parameters as they were given, by lease.
        var given: [String: String] = [:]
        /// What this encoder has computed.
        var embeddings: Set<String> = []
        var deadlines = Deadlines()
        var counts = [Int](repeating: 0, count: ServerEvent.allCases.count)
        var waiters: [EventWaiter] = []
        /// Where other engines reach this one.
        var address = SideChannel.Address(host: "127.0.0.1", port: 0)
        /// Between its end and its next start.
        var isDown = false
        /// What is to be done without the lock.
        var after: [@Sendable () -> Void] = []
    }

    typealias SideChannelReply = @Sendable (JSONValue) -> Void

    /// The pinned blocks of a prefill that waits for its decode, and its parked answer's number.
    struct FinishedPrefill: Sendable {
        let blocks: EngineRequestID?
        let parked: Int?
        let deadline: Int
    }

    let options: Options
    let index: Int
    let role: EngineRole?
    let timekeeper: Timekeeper
    let storage: SharedStorage
    let page: MetricsPage
    let started: Double
    let state: Lock<State>
    let lifecycle: ServerLifecycle

    init(
        options: Options,
        index: Int,
        timekeeper: Timekeeper,
        storage: SharedStorage,
        started: Double,
        fleet: FleetLinks
    ) {
        self.options = options
        self.index = index
        self.timekeeper = timekeeper
        self.storage = storage
        self.started = started
        role = options.role(of: index)
        lifecycle = ServerLifecycle(fleet)
        page = MetricsPageLayout.page(
            MetricsPageLayout.Facts(
                model: options.modelNames[0],
                maxModelLen: options.engine.maxModelLen,
                blockSize: options.engine.blockSize,
                blockCount: options.engine.kvCacheSize,
                hasAdapters: !options.adapters.isEmpty || options.fakeMetrics?.adapters != nil,
                hasNIXL: options.disaggregation.kvConnector == .nixl,
                started: started
            )
        )
        var engine = options.engine
        engine.seed &+= UInt64(index)
        var metrics = ServerMetrics(maxModelLen: engine.maxModelLen)
        if !options.adapters.isEmpty { metrics.adapters(running: [], waiting: [], at: started) }
        state = Lock(
            State(
                engine: Engine(engine),
                random: SeededGenerator(seed: engine.seed ^ 0x5851_F42D_4C95_7F2D),
                metrics: metrics,
                live: options.live,
                rules: options.faultRules,
                ledger: KVLedger(engineID: Self.newEngineID())
            )
        )
    }

    /// Changes the state, then does what came up and must be done without the lock: calls of other servers.
    func update<Result>(_ body: (inout State) -> Result) -> Result where Result: Sendable {
        let (result, after) = state.withLock { state in
            let result = body(&state)
            if !state.waiters.isEmpty { settleWaiters(&state) }
            defer { state.after = [] }
            return (result, state.after)
        }
        for action in after { action() }
        return result
    }

    /// A version 4 UUID, new at every start of an engine.
    static func newEngineID() -> String {
        var system = SystemRandomNumberGenerator()
        let high = system.next() & ~0xF000 | 0x4000
        let low = system.next() & ~(3 << 62) | 1 << 63
        func digits(_ value: UInt64) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        let text = Array(digits(high) + digits(low))
        return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(text[$0]) }.joined(separator: "-")
    }

    /// The HTTP server's handler.
    func handle(_ request: HTTPRequest) -> HTTPReply {
        switch (request.method, request.path) {
        case ("GET", "/metrics"), ("HEAD", "/metrics"): return metrics()
        case ("GET", "/health"), ("GET", "/ping"), ("GET", "/health_generate"):
            return .response(HTTPResponse(status: state.withLock { $0.live.faults.healthStatus }))
        case ("GET", "/version"): return .response(json("{\"version\":\"0.32.0+apus-sim\"}"))
        case ("GET", "/v1/models"): return .response(json(models))
        case ("POST", "/reset_prefix_cache"):
            state.withLock { state in
                state.engine.resetPrefixCache()
                state.page = nil
            }
            return .response(HTTPResponse())
        case ("POST", "/abort_request") where options.disaggregation.engine == .sglang: return abortRequest(request)
        case ("POST", let path):
            if let api = GenerationAPI(rawValue: path) { return generate(api, request) }
        default: break
        }
        if let reply = administer(request) ?? sideChannel(request) { return reply }
        let isKnown = Self.paths.contains(request.path)
        let detail = isKnown ? "Method Not Allowed" : "Not Found"
        return .response(json("{\"detail\":\"\(detail)\"}", status: isKnown ? 405 : 404))
    }

    private static let paths: Set<String> = [
        "/metrics", "/health", "/ping", "/version", "/v1/models", "/admin/config", "/admin/requests",
        "/reset_prefix_cache", "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages",
        "/v1/embeddings", "/inference/v1/generate", "/sim/audit", "/sim/faults", "/sim/wait", "/sim/restart",
        "/sim/expire",
    ]

    func json(_ text: String, status: Int = 200, headers: [HTTPHeader] = []) -> HTTPResponse {
        HTTPResponse(status: status, contentType: "application/json", text: text, headers: headers)
    }

    // MARK: Pages

    private var models: String {
        let base = options.modelNames.map { name in
            "{\"id\":\(name.quotedAsJSON),\"object\":\"model\",\"created\":\(Int(started)),\"owned_by\":\"vllm\","
                + "\"root\":\(options.model.quotedAsJSON),\"parent\":null,\"max_model_len\":\(options.engine.maxModelLen)}"
        }
        let adapters = options.adapters.map { name in
            "{\"id\":\(name.quotedAsJSON),\"object\":\"model\",\"created\":\(Int(started)),\"owned_by\":\"vllm\","
                + "\"root\":\(name.quotedAsJSON),\"parent\":\(options.modelNames[0].quotedAsJSON),\"max_model_len\":null}"
        }
        return "{\"object\":\"list\",\"data\":[\((base + adapters).joined(separator: ","))]}"
    }

    private func metrics() -> HTTPReply {
        state.withLock { state in
            let faults = state.live.faults
            if faults.metricsHang { return .later(HTTPLaterReply()) }
            guard faults.metricsStatus == 200 else {
                return .response(
                    HTTPResponse(
                        status: faults.metricsStatus,
                        contentType: "text/plain",
                        text: "metrics are switched off\n"
                    )
                )
            }
            let body = state.page ?? render(&state)
            let type = HTTPHeader("content-type", "text/plain; version=1.0.0; charset=utf-8")
            return .response(HTTPResponse(headers: [type], body: body))
        }
    }

    private func render(_ state: inout State) -> [UInt8] {
        let engine = state.engine.statistics
        if !options.adapters.isEmpty {
            state.metrics.adapters(
                running: engine.runningAdapters,
                waiting: engine.waitingAdapters,
                at: WallClock.seconds
            )
        }
        let values = MetricsValues(
            engine: engine,
            server: state.metrics,
            fake: state.live.fakeMetrics,
            maxLoras: options.engine.maxLoras,
            events: state.counts
        )
        let body = options.disaggregation.engine == .sglang ? values.sglangPage(options) : page.rendered(values)
        state.page = body
        return body
    }
}
