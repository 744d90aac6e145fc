internal import Configuration
internal import Discovery
internal import EndpointPicker
internal import Pool
internal import Scheduling
internal import Telemetry

/// The one place that the pool's endpoints come from, as flags and configuration say. Of Kubernetes only that it is it; `Cluster` does the rest.
final class EndpointSource: Sendable {
    private let file: FileDiscovery?
    private let dns: DNSDiscovery?

    init(
        _ options: ServeOptions,
        _ discovery: DiscoverySettings?,
        pool: Pool,
        prefixIndex: PrefixIndex,
        log: Logger
    ) throws(StartError) {
        let namespace = options.namespace
        if !options.endpoints.isEmpty {
            guard discovery == nil else {
                throw StartError(description: "--endpoints and a discovery plugin exclude each other")
            }
            (file, dns) = (nil, nil)
            pool.replaceEndpoints(try Self.fixed(options.endpoints, namespace))
            return
        }
        switch discovery {
        case nil:
            guard Cluster.isSource(options, discovery) else {
                throw StartError(
                    description: "no endpoints: use --endpoints, --pool-name, --endpoint-selector, or a file-discovery"
                        + " or dns-discovery plugin in the configuration"
                )
            }
            (file, dns) = (nil, nil)
        case .dns(let settings):
            file = nil
            dns = DNSDiscovery(settings, namespace: namespace) { event in
                switch event {
                case .endpoints(let endpoints):
                    pool.replaceEndpoints(endpoints)
                    prefixIndex.prune(keeping: pool.snapshot)
                    log.info("endpoints changed", ["name": settings.name, "count": endpoints.count])
                case .failing(let problem):
                    log.error("the DNS does not answer; the endpoints stay", ["name": settings.name, "error": problem])
                case .recovered:
                    log.info("the DNS answers again", ["name": settings.name])
                }
            }
        case .file(let settings):
            dns = nil
            do {
                file = try FileDiscovery(settings, namespace: namespace) { event in
                    switch event {
                    case .endpoints(let endpoints):
                        pool.replaceEndpoints(endpoints.compactMap { Self.resolved($0, log) })
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
        dns?.stop()
    }

    private static func fixed(_ list: String, _ namespace: String) throws(StartError) -> [EndpointDescription] {
        let endpoints: [EndpointDescription]
        do {
            endpoints = try StaticDiscovery.endpoints(list, namespace: namespace)
        } catch {
            throw StartError(description: "--endpoints: \(error)")
        }
        var resolved: [EndpointDescription] = []
        for endpoint in endpoints {
            guard let known = AddressResolver.resolved(endpoint) else {
                throw StartError(description: "--endpoints: the name \(endpoint.address) has no address")
            }
            resolved.append(known)
        }
        return resolved
    }

    private static func resolved(_ endpoint: EndpointDescription, _ log: Logger) -> EndpointDescription? {
        let resolved = AddressResolver.resolved(endpoint)
        if resolved == nil {
            log.error(
                "endpoint left out: its name has no address",
                ["endpoint": endpoint.name, "address": endpoint.address]
            )
        }
        return resolved
    }
}
