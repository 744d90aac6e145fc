internal import Discovery
internal import EndpointPicker
internal import Glibc
internal import Pool
internal import Scheduling
internal import SubRequests
internal import Telemetry

/// What of the service needs a Kubernetes API: the endpoints, objectives and rewrites, the election of a leader, and who may read metrics.
final class Cluster: Sendable {
    /// Nil when everybody may.
    let review: AccessReview?
    private let discovery: KubernetesDiscovery
    private let election: LeaderElection?
    private let log: Logger

    /// Whether the flags and the configuration leave the endpoints to Kubernetes.
    static func isSource(_ options: ServeOptions, _ discovery: DiscoverySettings?) -> Bool {
        options.endpoints.isEmpty && discovery == nil
            && (!options.poolName.isEmpty || !options.endpointSelector.isEmpty)
    }

    static func access() throws(StartError) -> KubernetesAccess {
        do {
            return try KubernetesAccess.found()
        } catch {
            throw StartError(description: error.description)
        }
    }

    init(
        _ options: ServeOptions,
        _ access: KubernetesAccess,
        client: HTTPClient,
        pool: Pool,
        prefixIndex: PrefixIndex,
        reload: ConfigurationReload,
        readiness: Readiness,
        telemetry: Telemetry,
        log: Logger
    ) throws(StartError) {
        self.log = log
        let api = KubernetesClient(access, client: client)
        review = options.metricsEndpointAuth ? Self.review(KubernetesClient(access, client: client), log) : nil
        for warning in access.warnings { log.warning("\(warning)") }
        let settings = KubernetesDiscovery.Settings(try Self.source(options), namespace: options.namespace)
        let changes = ChangeLog { count, changes in
            log.info("endpoints changed", ["count": count, "changes": changes])
        }
        discovery = KubernetesDiscovery(settings, client: api) { event in
            switch event {
            case .endpoints(let endpoints):
                pool.replaceEndpoints(endpoints)
                prefixIndex.prune(keeping: pool.snapshot)
                readiness.clear(.poolMissing)
                changes.note(endpoints.count)
            case .poolMissing:
                readiness.set(.poolMissing)
                if pool.isSynced { pool.replaceEndpoints([]) }
                log.error(
                    "there is no such InferencePool; not ready until there is one",
                    ["name": options.poolName, "namespace": options.namespace, "group": options.poolGroup]
                )
            case .foreignProtocol(let name):
                log.warning(
                    "the InferencePool's appProtocol is not http: metrics are read, and prefills sent, over HTTP/1.1 all the same",
                    ["appProtocol": name]
                )
            case .objectives(let objectives): reload.use(objectives)
            case .modelRewrites(let rewrites): reload.use(rewrites)
            case .failing(let kind, let error)
            where error.code == .forbidden && !kind.hasPrefix("pods") && !kind.hasPrefix("inferencepools"):
                // Without permission nobody is told whether a kind is installed.
                log.info("no permission for \(kind), or not installed", ["error": error.message])
            case .failing(let kind, let error):
                log.error("Kubernetes does not tell of \(kind); what is known stays", ["error": error.message])
            case .recovered(let kind):
                log.info("Kubernetes tells of \(kind) again")
            case .malformed(let what):
                log.warning("passed over: \(what); others like it will not be mentioned")
            }
        }
        election =
            options.leaderElection
            ? Self.election(options, KubernetesClient(access, client: client), readiness, log) : nil
        if election != nil { readiness.set(.standby) }
        expose(telemetry.metrics.registry)
    }

    private func expose(_ registry: MetricsRegistry) {
        let families: [(String, String, @Sendable (ReflectorCounts) -> Int)] = [
            ("lists", "Lists of objects that were begun.", { $0.lists }),
            ("watches", "Watches of objects that were begun.", { $0.watches }),
            ("events", "Changes of objects that were told.", { $0.events }),
            ("stale_events", "Changes that were known already or came after newer ones.", { $0.stale }),
            ("expirations", "Times that the server had forgotten where to go on.", { $0.expirations }),
            ("malformed", "Objects and changes that could not be read.", { $0.malformed }),
            ("failures", "Requests for objects that failed.", { $0.failures }),
        ]
        for (name, help, value) in families {
            registry.computedCounter("apus_kubernetes_\(name)_total", help: help) { [weak discovery] in
                (discovery?.counts ?? [:]).sorted { $0.key < $1.key }
                    .map { .init(labels: [("kind", $0.key)], value: Double(value($0.value))) }
            }
        }
    }

    func start() {
        discovery.start()
        election?.start()
    }

    /// Lets another replica lead.
    func resign() async {
        await election?.stop()
    }

    func stop() {
        discovery.stop()
    }

    // MARK: Flags

    private static func source(_ options: ServeOptions) throws(StartError) -> KubernetesDiscovery.Source {
        if options.endpointSelector.isEmpty {
            return .pool(name: options.poolName, group: options.poolGroup)
        }
        guard options.poolName.isEmpty else {
            throw StartError(description: "--pool-name and --endpoint-selector exclude each other")
        }
        var ports: [Int] = []
        for word in options.endpointTargetPorts.split(separator: ",") {
            guard let port = Int(word.filter { $0 != " " }), (1...65535).contains(port) else {
                throw StartError(description: "--endpoint-target-ports: \"\(word)\" is no port (1 to 65535)")
            }
            if !ports.contains(port) { ports.append(port) }
        }
        guard (1...8).contains(ports.count) else {
            throw StartError(description: "--endpoint-selector needs 1 to 8 ports in --endpoint-target-ports")
        }
        do {
            let selector = try LabelSelector(parsing: options.endpointSelector)
            return .pods(selector, ports: ports, poolName: options.deploymentName)
        } catch {
            throw StartError(description: "--endpoint-selector: \(error.description)")
        }
    }

    private static func review(_ api: KubernetesClient, _ log: Logger) -> AccessReview {
        AccessReview(api) { event in
            switch event {
            case .refused(let user, let path):
                log.info("metrics refused", ["user": user, "path": path])
            case .failing(let problem):
                log.warning("metrics refused: Kubernetes cannot be asked who is asking", ["error": problem])
            case .recovered:
                log.info("Kubernetes can be asked again who reads metrics")
            }
        }
    }

    private static func election(
        _ options: ServeOptions,
        _ api: KubernetesClient,
        _ readiness: Readiness,
        _ log: Logger
    ) -> LeaderElection {
        let settings = LeaderElection.Settings(
            name: "epp-\(options.namespace)-\(options.poolLabel).gateway-api-inference-extension.sigs.k8s.io",
            namespace: options.namespace,
            identity: LeaderElection.Settings.ownIdentity()
        )
        return LeaderElection(settings, client: api) { event in
            switch event {
            case .acquired:
                readiness.clear(.standby)
                log.info("leading", ["lease": settings.name])
            case .lost:
                readiness.set(.standby)
                log.warning("not leading any more", ["lease": settings.name])
            case .follows(let leader):
                log.info("standing by", ["lease": settings.name, "leader": leader])
            case .failing(let error):
                log.error("the lease cannot be had", ["lease": settings.name, "error": error.message])
            }
        }
    }
}
