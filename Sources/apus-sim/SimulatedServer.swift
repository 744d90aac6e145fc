import Bytes
import EngineSimulation
import HTTPServer

/// One simulated model server: an engine, its metrics, and what its HTTP server answers.
final class SimulatedServer: Sendable {
    struct State {
        var engine: Engine
        var random: SeededGenerator
        var metrics: ServerMetrics
        var live: LiveSettings
        var log = RequestLog()
        var active: [EngineRequestID: ActiveRequest] = [:]
        var port = 0
        var requestCount = 0
        /// The page as it was last rendered, until something changes.
        var page: [UInt8]?
    }

    let options: Options
    let index: Int
    let timekeeper: Timekeeper
    let page: MetricsPage
    let started: Double
    let state: Lock<State>

    init(options: Options, index: Int, timekeeper: Timekeeper, started: Double) {
        self.options = options
        self.index = index
        self.timekeeper = timekeeper
        self.started = started
        page = MetricsPageLayout.page(
            MetricsPageLayout.Facts(
                model: options.modelNames[0],
                maxModelLen: options.engine.maxModelLen,
                blockSize: options.engine.blockSize,
                blockCount: options.engine.kvCacheSize,
                hasAdapters: !options.adapters.isEmpty || options.fakeMetrics?.adapters != nil,
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
                live: options.live
            )
        )
    }

    /// The HTTP server's handler.
    func handle(_ request: HTTPRequest) -> HTTPReply {
        switch (request.method, request.path) {
        case ("GET", "/metrics"), ("HEAD", "/metrics"): return metrics()
        case ("GET", "/health"), ("GET", "/ping"):
            return .response(HTTPResponse(status: state.withLock { $0.live.faults.healthStatus }))
        case ("GET", "/version"): return .response(json("{\"version\":\"0.32.0+apus-sim\"}"))
        case ("GET", "/v1/models"): return .response(json(models))
        case ("GET", "/admin/config"): return .response(json(state.withLock { configuration($0).text }))
        case ("POST", "/admin/config"): return .response(configure(request))
        case ("GET", "/admin/requests"): return .response(json(state.withLock { $0.log.json.text }))
        case ("DELETE", "/admin/requests"):
            state.withLock { $0.log.removeAll() }
            return .response(HTTPResponse())
        case ("POST", "/reset_prefix_cache"):
            state.withLock { state in
                state.engine.resetPrefixCache()
                state.page = nil
            }
            return .response(HTTPResponse())
        case ("POST", let path):
            if let api = GenerationAPI(rawValue: path) { return generate(api, request) }
        default: break
        }
        let isKnown = Self.paths.contains(request.path)
        let detail = isKnown ? "Method Not Allowed" : "Not Found"
        return .response(json("{\"detail\":\"\(detail)\"}", status: isKnown ? 405 : 404))
    }

    private static let paths: Set<String> = [
        "/metrics", "/health", "/ping", "/version", "/v1/models", "/admin/config", "/admin/requests",
        "/reset_prefix_cache", "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages",
        "/v1/embeddings",
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
            maxLoras: options.engine.maxLoras
        )
        let body = page.rendered(values)
        state.page = body
        return body
    }

    // MARK: Settings

    private func configuration(_ state: borrowing State) -> JSONValue {
        let live = state.live
        let latency = live.latency
        let faults = live.faults
        return .object([
            ("model", .string(options.model)),
            ("role", .string(options.role)),
            ("port", .integer(state.port)),
            ("max-num-seqs", .integer(options.engine.maxNumSeqs)),
            ("max-model-len", .integer(options.engine.maxModelLen)),
            ("kv-cache-size", .integer(options.engine.kvCacheSize)),
            ("block-size", .integer(options.engine.blockSize)),
            ("mode", .string(live.mode.rawValue)),
            ("latency-calculator", .string(latency.calculator.rawValue)),
            ("time-to-first-token", .string(DurationText.write(latency.timeToFirstToken))),
            ("prefill-overhead", .string(DurationText.write(latency.prefillOverhead))),
            ("prefill-time-per-token", .string(DurationText.write(latency.prefillTimePerToken))),
            ("inter-token-latency", .string(DurationText.write(latency.interTokenLatency))),
            ("time-factor-under-load", .number(latency.timeFactorUnderLoad)),
            ("failure-injection-rate", .integer(faults.failureInjectionRate)),
            ("failure-types", .array(faults.failureTypes.map { .string($0.rawValue) })),
            ("hang", .bool(faults.hangs)),
            ("drop", .bool(faults.drops)),
            ("cut-after-tokens", .integer(faults.cutAfterTokens ?? -1)),
            ("metrics-status", .integer(faults.metricsStatus)),
            ("metrics-hang", .bool(faults.metricsHang)),
            ("health-status", .integer(faults.healthStatus)),
            ("fake-metrics", live.fakeMetrics?.json ?? .null),
        ])
    }

    private func configure(_ request: HTTPRequest) -> HTTPResponse {
        do {
            let document: JSONValue
            do throws(JSONError) {
                document = try JSONReader.read(request.body)
            } catch {
                throw OptionError("not JSON: \(error.message) at byte \(error.offset)")
            }
            guard let members = document.members else { throw OptionError("a JSON object is expected") }
            return try state.withLock { state in
                var live = state.live
                for (name, value) in members { try live.set(name, value) }
                try options.latency(live.latency)
                state.live = live
                state.engine.setLatency(live.latency)
                state.page = nil
                return json(configuration(state).text)
            }
        } catch {
            let message = (error as? OptionError)?.message ?? "\(error)"
            return json(APIError.badRequest(message).body(for: nil), status: 400)
        }
    }
}

extension LiveSettings {
    /// Sets what a member of `POST /admin/config` says.
    mutating func set(_ name: String, _ value: JSONValue) throws(OptionError) {
        let setting = Setting.all.first { $0.name == name }
        do throws(OptionError) {
            switch setting?.effect {
            case .live(let set):
                let text =
                    switch value {
                    case .string(let text): text
                    case .array(let elements) where name == "failure-types":
                        elements.compactMap(\.string).joined(separator: ",")
                    default: value.text
                    }
                try set(&self, text)
            case .liveToggle(let set):
                guard let on = value.bool else { throw OptionError("takes true or false") }
                set(&self, on)
            case nil: throw OptionError("is not known")
            default: throw OptionError("cannot change at run time")
            }
        } catch {
            throw OptionError("\(name): \(error.message)")
        }
    }
}
