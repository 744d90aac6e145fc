internal import Admission
internal import Bytes
internal import Configuration
internal import Discovery
internal import EndpointPicker
internal import Glibc
internal import HTTPServer
internal import Pool
internal import RPC
internal import Scheduling
internal import Scraping
internal import SubRequests
internal import Telemetry

/// Why the service cannot start: one line, or one per problem.
struct StartError: Error, CustomStringConvertible {
    let description: String
}

/// The parts of `apus serve`, made and wired in the order in which they depend on each other, and taken down in the reverse.
final class Service: Sendable {
    private let options: ServeOptions
    private let log: Logger
    private let accessLines: LineWriter
    private let pool: Pool
    private let admission: AdmissionController
    private let reload: ConfigurationReload
    private let endpoints: EndpointSource
    private let cluster: Cluster?
    /// For sub-requests and everything else that is asked of others but metrics.
    private let client: HTTPClient
    /// A thread of its own for what is asked all the time, or several: it must hold up neither sub-requests nor news of the pool.
    private let scrapeClients: [HTTPClient]
    private let traces: TraceExport?
    private let scraper: Scraper?
    private let readiness: Readiness
    private let tls: ServingTLS?
    private let pollers: Pollers
    private let server: Server
    private let healthServer: Server
    private let admin: HTTPServer
    private let manager = ServiceManager()

    init(_ given: ServeOptions) throws(StartError) {
        var options = given
        let format = LogFormat(rawValue: options.logFormat) ?? (isatty(STDERR_FILENO) == 1 ? .text : .json)
        log = Logger(verbosity: options.verbosity, format: format)
        CoreLog.redirect { [log] in log.warning("gRPC: \($0)") }
        tls = options.secureServing ? try ServingTLS(options, log: log) : nil

        let prefixIndex = PrefixIndex()
        let setup = try Self.setup(options, prefixIndex, log)
        let isInCluster = Cluster.isSource(options, setup.discovery)
        try Self.refuse(options, isInCluster: isInCluster)
        for flag in Self.flagsWithoutEffect(options, isInCluster: isInCluster) {
            log.warning("--\(flag) has no effect")
        }
        let access = isInCluster ? try Cluster.access() : nil
        options.clusterNamespace = access?.namespace
        self.options = options
        accessLines = LineWriter(descriptor: STDOUT_FILENO)
        let tracer = TraceExport.tracer(options, log: log)
        let telemetry = Telemetry(accessLog: AccessLog(writer: accessLines, format: format), tracer: tracer)
        pool = Pool(stalenessThreshold: options.metricsStalenessThreshold)
        let admission = DirectorAdmission(
            setup.admission,
            pool: pool,
            poolName: options.poolLabel,
            telemetry: telemetry
        )
        self.admission = admission.controller
        client = HTTPClient()
        let renderer = TokenRenderer(client: client, telemetry: telemetry) { [log] problem in
            if let problem {
                log.warning("the token-producer's server cannot be used; prompts are estimated", ["error": problem])
            } else {
                log.info("the token-producer's server answers again")
            }
        }
        let legs = LegRunning(client: client, telemetry: telemetry)
        let director = Director(
            pool: pool,
            scheduler: setup.scheduler,
            telemetry: telemetry,
            settings: DirectorSettings(setup, options),
            admission: admission,
            orchestration: legs.orchestration(setup.orchestration),
            renderer: renderer,
            seed: .random(in: .min ... .max)
        )
        director.use(setup.objectives)
        director.use(setup.modelRewrites)
        reload = ConfigurationReload(options, setup, prefixIndex, director, legs, telemetry, log)
        readiness = Readiness(pool, isElected: options.leaderElection)
        var pages = AdminPages(
            pool: pool,
            telemetry: telemetry,
            reload: reload,
            options: options,
            readiness: readiness
        )
        pages.exposePool()

        endpoints = try EndpointSource(
            options,
            setup.discovery,
            pool: pool,
            prefixIndex: prefixIndex,
            log: log
        )
        if let access {
            cluster = try Cluster(
                options,
                access,
                client: client,
                pool: pool,
                prefixIndex: prefixIndex,
                reload: reload,
                readiness: readiness,
                telemetry: telemetry,
                log: log
            )
        } else {
            cluster = nil
        }
        pages.review = cluster?.review
        traces = tracer.map { [client, log] in TraceExport($0, client: client, log: log) }
        scrapeClients = setup.metrics == nil ? [] : Self.scrapeClients()
        scraper = Self.scraper(setup, pool, scrapeClients, options, telemetry, log)

        let limits = PickerLimits(
            requestBodyBytes: options.maxRequestBodyBytes,
            heldResponseBytes: PickerLimits.defaults.heldResponseBytes
        )
        var services = [ExternalProcessor.method: ExternalProcessor.handler(director: director, limits: limits)]
        if options.healthChecking { services.merge(readiness.health.handlers()) { first, _ in first } }
        do {
            // One set of pollers for both: a second thread in core's poll loop would take the first one's events and wake it for each.
            let configuration = Self.configuration(options, tls)
            pollers = try Pollers(count: configuration.pollers)
            server = try Server(configuration: configuration, services: services, pollers: pollers)
            var plain = ServerConfiguration.defaults
            plain.bindAddress = options.bindAddress
            plain.port = options.healthPort
            healthServer = try Server(configuration: plain, services: readiness.health.handlers(), pollers: pollers)
        } catch {
            throw StartError(description: error.message)
        }
        do {
            admin = try HTTPServer(
                bindAddress: options.bindAddress,
                port: options.metricsPort,
                maxRequestBodyBytes: 64 << 10,
                handler: pages.answer
            )
        } catch {
            throw StartError(description: error.description)
        }
    }

    /// Serves until a signal says to end, then drains.
    func run(until signals: EndingSignals) async {
        scraper?.start()
        tls?.start()
        traces?.start()
        readiness.start()
        reload.start()
        cluster?.start()
        let address = options.bindAddress
        log.info(
            "ext_proc listening on \(Endpoint.hostPort(address: address, port: server.port))",
            ["version": Main.version, "endpoints": pool.snapshot.count, "tls": tls != nil]
        )
        log.info("gRPC health listening on \(Endpoint.hostPort(address: address, port: healthServer.port))")
        log.info("metrics listening on \(Endpoint.hostPort(address: address, port: admin.port))")

        manager?.tell(.ready)
        let signsOfLife = manager.map { manager in Task { await manager.giveSignsOfLife() } }
        defer { signsOfLife?.cancel() }
        let heapReturn = Task { await HeapReturn.run() }
        defer { heapReturn.cancel() }

        await signals.waitForFirst()
        manager?.tell(.stopping)
        log.info("draining", ["streams": server.activeStreams, "timeout": "\(options.drainTimeout)"])
        readiness.drain()
        // Another replica can take over while this one serves what it has.
        async let resignation: Void? = cluster?.resign()
        // What waits for room is told to try elsewhere while there is time for it.
        admission.drain()
        await drain(signals)
        _ = await resignation
        await stop()
        log.info("stopped")
        accessLines.stop()
    }

    /// Gateways see NOT_SERVING and stop sending; what they still send in that time is served. Ends when no stream was open for `quietTime`,
    /// when the time is up, or on a second signal.
    private func drain(_ signals: EndingSignals) async {
        let end = MonotonicTime.now() + options.drainTimeout
        var idleSince = MonotonicTime.now()
        while MonotonicTime.now() < end, signals.received < 2 {
            try? await Task.sleep(for: .milliseconds(50))
            if server.activeStreams > 0 { idleSince = .now() }
            if MonotonicTime.now().elapsed(since: idleSince) >= Self.quietTime { return }
        }
    }

    /// Longer than the gateways' health checks are apart, so that one with little traffic does not find the port closed.
    private static let quietTime = Duration.seconds(3)

    private func stop() async {
        await server.shutdown(grace: .seconds(1))
        readiness.health.shutdown()
        await healthServer.shutdown(grace: .zero)
        await pollers.shutdown()
        admin.stop()
        reload.stop()
        endpoints.stop()
        cluster?.stop()
        tls?.stop()
        scraper?.stop()
        for client in scrapeClients { client.shutdown() }
        await traces?.stop()
        client.shutdown()
    }

    // MARK: Making the parts

    private static func setup(
        _ options: ServeOptions,
        _ prefixIndex: PrefixIndex,
        _ log: Logger
    ) throws(StartError) -> SchedulingSetup {
        let result: (setup: SchedulingSetup?, diagnostics: [Diagnostic])
        switch (options.configFile.isEmpty, options.configText.isEmpty) {
        case (true, true):
            return .builtIn(prefixIndex: prefixIndex)
        case (false, false):
            throw StartError(description: "--config-file and --config-text exclude each other")
        case (false, true):
            result = ConfigurationLoader.setup(path: options.configFile, prefixIndex: prefixIndex)
        case (true, false):
            result = ConfigurationLoader.setup(
                text: Array(options.configText.utf8),
                file: "--config-text",
                prefixIndex: prefixIndex
            )
        }
        for diagnostic in result.diagnostics where diagnostic.severity == .warning { log.warning("\(diagnostic)") }
        guard let setup = result.setup else {
            let errors = result.diagnostics.filter { $0.severity == .error }
            throw StartError(
                description: "the configuration cannot be used\n" + errors.map(\.description).joined(separator: "\n")
            )
        }
        return setup
    }

    private static func configuration(_ options: ServeOptions, _ tls: ServingTLS?) -> ServerConfiguration {
        var configuration = ServerConfiguration.defaults
        configuration.bindAddress = options.bindAddress
        configuration.port = options.grpcPort
        // Pollers that share a gateway's few connections take each other's events, which costs a third more per request with two than with
        // one; and one serves thousands of requests a second.
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        configuration.pollers = options.ioThreads > 0 ? options.ioThreads : max(1, cores / 4)
        configuration.maxReceiveMessageBytes = options.maxReceiveMessageBytes
        configuration.maxSendMessageBytes = options.maxSendMessageBytes > 0 ? options.maxSendMessageBytes : nil
        configuration.maxConcurrentStreams = options.maxStreams
        if let tls { configuration.credentials = .tls(tls.credentials) }
        return configuration
    }

    /// More than one matters for pools of many hundreds only; see `ScrapeShare`.
    private static func scrapeClients() -> [HTTPClient] {
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        return (0..<max(1, min(4, cores / 2 + 1))).map { _ in HTTPClient(threadName: "apus-scrape") }
    }

    private static func scraper(
        _ setup: SchedulingSetup,
        _ pool: Pool,
        _ clients: [HTTPClient],
        _ options: ServeOptions,
        _ telemetry: Telemetry,
        _ log: Logger
    ) -> Scraper? {
        guard let metrics = setup.metrics else { return nil }
        var settings = ScrapeSettings()
        settings.interval = options.refreshMetricsInterval
        settings.path = metrics.source.path
        if metrics.source.scheme ?? options.metricsScheme == "https" {
            let takesAny = metrics.source.insecureSkipVerify ?? options.metricsInsecureSkipVerify
            settings.trust = TLSTrust(insecureSkipVerify: takesAny)
        }
        settings.seed = .random(in: .min ... .max)
        let dialects = EngineDialects.known(
            label: metrics.extractor.engineLabelKey,
            standard: metrics.extractor.defaultEngine,
            described: metrics.extractor.engines
        )
        return Scraper(pool: pool, clients: clients, settings: settings, dialects: dialects) { event in
            switch event {
            case .succeeded(let endpoint, let seconds, let isTransition):
                telemetry.scraped(outcome: "ok", nanoseconds: UInt64(seconds * 1e9))
                if isTransition { log.info("endpoint answers again", ["endpoint": endpoint.hostPort]) }
            case .failed(let endpoint, let message, let hasPage, let isTransition):
                telemetry.scraped(outcome: "error", nanoseconds: nil, hasPage: hasPage)
                if isTransition {
                    log.warning("endpoint cannot be scraped", ["endpoint": endpoint.hostPort, "error": message])
                }
            }
        }
    }

    // MARK: Flags

    private static func refuse(_ options: ServeOptions, isInCluster: Bool) throws(StartError) {
        var v4 = in_addr()
        var v6 = in6_addr()
        guard inet_pton(AF_INET, options.bindAddress, &v4) == 1 || inet_pton(AF_INET6, options.bindAddress, &v6) == 1
        else {
            throw StartError(description: "--bind-address must be an IP address, not \"\(options.bindAddress)\"")
        }
        // Whoever asks for verified clients must not be served without.
        if !options.secureServing, !options.clientCAFile.isEmpty {
            throw StartError(description: "--client-ca-file needs TLS: --secure-serving=false excludes it")
        }
        if options.leaderElection, !isInCluster {
            throw StartError(
                description: "--ha-enable-leader-election needs endpoints from Kubernetes: --pool-name or"
                    + " --endpoint-selector alone"
            )
        }
    }

    private static func flagsWithoutEffect(_ options: ServeOptions, isInCluster: Bool) -> [String] {
        let tls =
            options.secureServing ? [] : ["cert-path", "enable-cert-reload", "tls-min-version", "tls-cipher-suites"]
        let silent = Flag.all.filter { if case .withoutEffect = $0.kind { true } else { false } }.map(\.name)
        // Kubernetes' own, and what is computed when it is asked for.
        var others = ["refresh-prometheus-metrics-interval"]
        if !isInCluster {
            others += ["pool-group", "endpoint-selector", "endpoint-target-ports", "metrics-endpoint-auth"]
        } else {
            others += options.endpointSelector.isEmpty ? ["endpoint-target-ports"] : ["pool-group"]
        }
        return (tls + silent + others).filter { options.given.contains($0) }
    }
}
