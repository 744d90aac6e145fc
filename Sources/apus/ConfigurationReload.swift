internal import Admission
internal import Bytes
internal import Configuration
internal import Discovery
internal import EndpointPicker
internal import Inference
internal import Scheduling
internal import Telemetry

/// Makes changes of the configuration file take effect while requests run.
///
/// A changed file is read and checked as a whole. A good one replaces scheduling from the next request on; the prefix index
/// and what waits to be let in are kept. A broken one changes nothing, and the log and a metric say so. What is wired once, at the start
/// (where endpoints come from and how they are scraped), is compared and named when it would need a restart.
final class ConfigurationReload: Sendable {
    /// What is in effect now, for `/debug/config`.
    let setup: Lock<SchedulingSetup>
    private let options: ServeOptions
    /// One for the life of the service, whatever configurations come and go.
    private let prefixIndex: PrefixIndex
    private let director: Director
    private let legs: LegRunning
    private let telemetry: Telemetry
    private let log: Logger
    private let watcher: FileWatcher?
    private let objectives: Lock<Objectives>

    /// Priorities and rewritten models: of the configuration, and of Kubernetes, which come before them.
    private struct Objectives {
        var configured: (ObjectiveTable, ModelRewriteTable)
        var inCluster: ([InferenceObjective], [InferenceModelRewrite]) = ([], [])
    }

    init(
        _ options: ServeOptions,
        _ setup: SchedulingSetup,
        _ prefixIndex: PrefixIndex,
        _ director: Director,
        _ legs: LegRunning,
        _ telemetry: Telemetry,
        _ log: Logger
    ) {
        self.prefixIndex = prefixIndex
        self.options = options
        self.setup = Lock(setup)
        self.director = director
        self.legs = legs
        self.telemetry = telemetry
        self.log = log
        objectives = Lock(Objectives(configured: (setup.objectives, setup.modelRewrites)))
        watcher = options.configFile.isEmpty ? nil : FileWatcher(path: options.configFile)
    }

    func start() {
        watcher?.start { [self] in reload() }
    }

    func stop() {
        watcher?.stop()
    }

    // MARK: Objectives

    /// Takes these for what Kubernetes says of priorities.
    func use(_ objectives: [InferenceObjective]) {
        useObjectives { $0.inCluster.0 = objectives }
    }

    /// Takes these for what Kubernetes says of rewritten models.
    func use(_ rewrites: [InferenceModelRewrite]) {
        useObjectives { $0.inCluster.1 = rewrites }
    }

    private func useObjectives(_ change: (inout Objectives) -> Void) {
        objectives.withLock { objectives in
            change(&objectives)
            let table = ObjectiveTable(objectives.inCluster.0 + objectives.configured.0.objectives)
            let rewrites = ModelRewriteTable(objectives.inCluster.1 + objectives.configured.1.rewrites)
            director.use(table)
            director.use(rewrites)
            setup.withLock { setup in
                setup.objectives = table
                setup.modelRewrites = rewrites
            }
        }
    }

    // MARK: The file

    private func reload() {
        let current = setup.withLock { $0 }
        let result = ConfigurationLoader.setup(path: options.configFile, prefixIndex: prefixIndex)
        for diagnostic in result.diagnostics where diagnostic.severity == .warning { log.warning("\(diagnostic)") }
        guard var changed = result.setup else {
            for diagnostic in result.diagnostics where diagnostic.severity == .error {
                log.error("changed configuration not used: \(diagnostic)")
            }
            telemetry.configurationChanged(accepted: false)
            return
        }
        if changed.discovery != current.discovery {
            log.warning("the source of endpoints has changed in the configuration; this takes effect at the next start")
        }
        if changed.metrics != current.metrics {
            log.warning("how metrics are read has changed in the configuration; this takes effect at the next start")
        }
        // What stays in effect until then is what the next change is compared with.
        changed.discovery = current.discovery
        changed.metrics = current.metrics
        director.reconfigure(
            scheduler: changed.scheduler,
            settings: DirectorSettings(changed, options),
            orchestration: legs.orchestration(changed.orchestration)
        )
        director.admission?.controller.update(settings: changed.admission)
        setup.withLock { $0 = changed }
        useObjectives { $0.configured = (changed.objectives, changed.modelRewrites) }
        telemetry.configurationChanged(accepted: true)
        log.info("configuration reloaded", ["file": options.configFile])
    }
}

extension DirectorSettings {
    init(_ setup: SchedulingSetup, _ options: ServeOptions) {
        self.init(
            parsers: ParserSelection(types: setup.parsers),
            honorsSubset: !options.disableSubsetFilter,
            emitsScores: options.emitEndpointScores
        )
        responseProcessing = setup.responseProcessing
        rendering = setup.tokens.rendering
        media = setup.tokens.media
    }
}
