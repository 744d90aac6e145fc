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
        prefixIndex: PrefixIndex,
        log: Logger
    ) throws(StartError) {
        let namespace = options.namespace
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
                let endpoints = try StaticDiscovery.endpoints(options.endpoints, namespace: namespace)
                for endpoint in endpoints where AddressResolver.resolved(endpoint) == nil {
                    throw StartError(description: "--endpoints: the name \(endpoint.address) has no address")
                }
                pool.replaceEndpoints(endpoints.compactMap { AddressResolver.resolved($0) })
            } catch let error as StartError {
                throw error
            } catch {
                throw StartError(description: "--endpoints: \(error)")
            }
        case (true, let settings?):
            do {
                file = try FileDiscovery(settings, namespace: namespace) { event in
                    switch event {
                    case .endpoints(let endpoints):
                        let resolved = endpoints.compactMap { endpoint in
                            let resolved = AddressResolver.resolved(endpoint)
                            if resolved == nil {
                                log.error(
                                    "endpoint left out: its name has no address",
                                    ["endpoint": endpoint.name, "address": endpoint.address]
                                )
                            }
                            return resolved
                        }
                        pool.replaceEndpoints(resolved)
                        prefixIndex.prune(keeping: pool.snapshot)
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
