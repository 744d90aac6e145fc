internal import Bytes
internal import Configuration
internal import Discovery
internal import EndpointPicker
internal import Glibc
internal import HTTPServer
internal import Pool
internal import Scheduling
internal import Telemetry

/// The pages of the metrics port.
struct AdminPages: Sendable {
    let pool: Pool
    let telemetry: Telemetry
    let reload: ConfigurationReload
    let options: ServeOptions
    let readiness: Readiness
    /// Who may read more than whether we are ready; nil: everybody.
    var review: AccessReview?

    func answer(_ request: HTTPRequest) -> HTTPReply {
        guard let review, !["/healthz", "/readyz"].contains(request.path) else { return page(request) }
        let later = HTTPLaterReply()
        Task {
            switch await review.verdict(authorization: request.header("authorization"), path: request.path) {
            case .allowed:
                if case .response(let response) = page(request) { later.complete(response) } else { later.drop() }
            case .unauthenticated:
                later.complete(
                    HTTPResponse(
                        status: 401,
                        contentType: "text/plain",
                        text: "Unauthorized\n",
                        headers: [HTTPHeader("www-authenticate", "Bearer")]
                    )
                )
            case .forbidden:
                later.complete(HTTPResponse(status: 403, contentType: "text/plain", text: "Forbidden\n"))
            case .unknown:
                later.complete(
                    HTTPResponse(status: 503, contentType: "text/plain", text: "authentication is not available\n")
                )
            }
        }
        return .later(later)
    }

    private func page(_ request: HTTPRequest) -> HTTPReply {
        guard request.method == "GET" || request.method == "HEAD" else {
            return .response(HTTPResponse(status: 405, contentType: "text/plain", text: "only GET is served here\n"))
        }
        switch request.path {
        case "/metrics":
            var page: [UInt8] = []
            telemetry.metrics.registry.render(into: &page)
            let type = HTTPHeader("content-type", "text/plain; version=0.0.4; charset=utf-8")
            return .response(HTTPResponse(headers: [type], body: page))
        case "/healthz":
            return text("ok\n")
        case "/readyz":
            return readiness.obstacle.map { text("\($0)\n", status: 503) } ?? text("ok\n")
        case "/debug/endpoints":
            return json(endpoints())
        case "/debug/decisions":
            return json(telemetry.decisions.json())
        case "/debug/config":
            return json(configuration())
        default:
            let pages = "/metrics /healthz /readyz /debug/endpoints /debug/decisions /debug/config"
            return text("no such page; there are \(pages)\n", status: 404)
        }
    }

    private func text(_ text: String, status: Int = 200) -> HTTPReply {
        .response(HTTPResponse(status: status, contentType: "text/plain; charset=utf-8", text: text))
    }

    private func json(_ bytes: [UInt8]) -> HTTPReply {
        .response(HTTPResponse(headers: [HTTPHeader("content-type", "application/json")], body: bytes))
    }

    // MARK: Pages

    private func endpoints() -> [UInt8] {
        let snapshot = pool.snapshot
        let now = MonotonicTime.now()
        var json = JSONWriter()
        json.object { json in
            json.array("endpoints") { json in
                for index in 0..<snapshot.count { write(snapshot, index, now, &json) }
            }
        }
        return json.bytes
    }

    private func write(_ snapshot: Snapshot, _ index: Int, _ now: MonotonicTime, _ json: inout JSONWriter) {
        let endpoint = snapshot.endpoints[index]
        let metrics = snapshot.metrics[index]
        let scrape = snapshot.scrapes[index]
        let load = endpoint.load.reading
        json.object { json in
            json.member("name", endpoint.identity.name)
            json.member("namespace", endpoint.identity.namespace)
            json.member("address", endpoint.address)
            json.member("port", endpoint.port)
            json.object("labels") { json in
                for (name, value) in endpoint.labels.sorted(by: { $0.key < $1.key }) { json.member(.init(name), value) }
            }
            json.member("fresh", snapshot.isFresh(index, at: now, threshold: pool.stalenessThreshold))
            json.object("scrape") { json in
                json.member("ageSeconds", scrape.updatedAt.map { now.seconds(since: $0) })
                json.member("failures", scrape.failures)
                json.member("error", scrape.error)
                json.member("reachable", scrape.reachable)
            }
            json.object("metrics") { json in
                json.member("waitingQueueSize", metrics.waitingQueueSize)
                json.member("runningRequests", metrics.runningRequests)
                json.member("kvCacheUsage", metrics.kvCacheUsage)
                json.array("activeModels") { json in for model in metrics.activeModels { json.value(model) } }
                json.array("waitingModels") { json in for model in metrics.waitingModels { json.value(model) } }
                json.member("maxActiveModels", metrics.maxActiveModels)
                json.member("cacheBlockSize", metrics.cacheBlockSize)
                json.member("cacheBlockCount", metrics.cacheBlockCount)
            }
            json.object("inFlight") { json in
                json.member("requests", load.requests)
                json.member("tokens", load.tokens)
            }
            json.member("breaker", endpoint.breaker.state(at: now).rawValue)
        }
    }

    private func configuration() -> [UInt8] {
        let setup = reload.setup.withLock { $0 }
        var json = JSONWriter()
        json.object { json in
            setup.scheduler.write(to: &json)
            json.reflect("tokens", setup.tokens)
            if let metrics = setup.metrics {
                json.reflect("metricsSource", metrics.source)
                json.reflect("metricsExtractor", metrics.extractor)
            }
            if let discovery = setup.discovery { json.reflect("discovery", discovery) }
            json.array("parsers") { json in for parser in setup.parsers { json.value(parser) } }
            json.member("responseProcessing", setup.responseProcessing.rawValue)
            setup.admission.write(to: &json)
            setup.writeObjectives(to: &json)
            setup.orchestration.write(to: &json)
            json.object("flags") { json in
                json.member("refresh-metrics-interval", JSONWriter.text(options.refreshMetricsInterval))
                json.member("metrics-staleness-threshold", JSONWriter.text(options.metricsStalenessThreshold))
                json.member("max-request-body", options.maxRequestBodyBytes)
                json.member("grpc-max-recv-msg-size", options.maxReceiveMessageBytes)
                json.member("max-streams", options.maxStreams)
                json.member("drain-timeout", JSONWriter.text(options.drainTimeout))
                json.member("disable-endpoint-subset-filter", options.disableSubsetFilter)
                json.member("emit-endpoint-scores", options.emitEndpointScores)
            }
        }
        return json.bytes
    }

    // MARK: Gauges

    /// Puts the pool and the prefix index among the metrics.
    func exposePool() {
        let pool = pool
        let name = options.poolLabel
        telemetry.metrics.registry.exposeProcess()
        telemetry.metrics.exposeInfo(commit: "", buildRef: Main.version)
        telemetry.metrics.exposePool {
            let snapshot = pool.snapshot
            let now = MonotonicTime.now()
            return PoolReading(
                name: name,
                endpoints: (0..<snapshot.count)
                    .filter { snapshot.isFresh($0, at: now, threshold: pool.stalenessThreshold) }
                    .map { index in
                        let metrics = snapshot.metrics[index]
                        return PoolReading.Endpoint(
                            name: snapshot.endpoints[index].identity.name,
                            waitingQueueSize: metrics.waitingQueueSize,
                            runningRequests: metrics.runningRequests,
                            kvCacheUsage: metrics.kvCacheUsage
                        )
                    }
            )
        }
        let plugin = PluginLabels(name: "approx-prefix-cache-producer", type: "approx-prefix-cache-producer")
        // Weak: the reload holds the telemetry that would hold it.
        telemetry.metrics.exposePrefixIndexSize(plugin: plugin) { [weak reload] in
            reload?.setup.withLock { $0.scheduler.prefixCache?.index.statistics.entries ?? 0 } ?? 0
        }
    }
}
