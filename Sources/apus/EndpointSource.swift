internal import Configuration
internal import Discovery
internal import EndpointPicker
internal import Pool
internal import Scheduling
internal import Telemetry

/// The one place that the pool's endpoints come from, as flags and configuration say.
final class EndpointSource: Sendable {
    private let file: FileDiscovery?

    init(
        _ options: ServeOptions,
        _ discovery: FileDiscoverySettings?,
        pool: Pool,
        prefixIndex: PrefixIndex?,
        log: Logger
    ) throws(StartError) {
        let namespace = options.poolNamespace.isEmpty ? "default" : options.poolNamespace
        let isNamed = !options.poolName.isEmpty || !options.endpointSelector.isEmpty
        switch (options.endpoints.isEmpty, discovery) {
        case (false, .some):
            throw StartError(description: "--endpoints and a discovery plugin exclude each other")
        case (true, nil):
            throw StartError(
                description: isNamed
                    ? "endpoints from Kubernetes are not available yet: use --endpoints or a file-discovery plugin"
                    : "no endpoints: use --endpoints or a file-discovery plugin in the configuration"
            )
        case (false, nil):
            file = nil
            do {
                pool.replaceEndpoints(try StaticDiscovery.endpoints(options.endpoints, namespace: namespace))
            } catch {
                throw StartError(description: "--endpoints: \(error)")
            }
        case (true, let settings?):
            do {
                file = try FileDiscovery(settings, namespace: namespace) { event in
                    switch event {
                    case .endpoints(let endpoints):
                        pool.replaceEndpoints(endpoints)
                        prefixIndex?.prune(keeping: pool.snapshot)
                        log.info("endpoints loaded", ["file": settings.path, "count": endpoints.count])
                    case .rejected(let diagnostics):
                        for diagnostic in diagnostics { log.error("endpoints file not used: \(diagnostic)") }
                    }
                }
            } catch {
                throw StartError(description: "\(error)")
            }
        }
    }

    func stop() {
        file?.stop()
    }
}
