private import Bytes
package import Configuration
private import Glibc
package import Pool

/// The parameters of the plugin `dns-discovery`.
package struct DNSDiscoverySettings: Sendable, Equatable {
    package enum RecordType: String, Sendable, CaseIterable {
        /// The name's IPv4 and IPv6 addresses, all on one port.
        case a = "A"
        /// Services: hosts with their ports.
        case srv = "SRV"
    }

    package var name: String
    /// Of all endpoints; not used with SRV.
    package var port: Int
    package var type = RecordType.a
    /// From one look-up to the next.
    package var interval = Duration.seconds(5)

    package init(name: String, port: Int) {
        self.name = name
        self.port = port
    }

    /// Reads the parameters; what is wrong goes to their diagnostics.
    package init?(parameters: inout Fields) {
        let name = parameters.string("name")
        let port = parameters.integer("port", in: EndpointAddress.ports, orText: true)
        let type = parameters.string("type", oneOf: RecordType.allCases.map(\.rawValue))
        let interval = parameters.duration("interval", in: .milliseconds(100)...(.seconds(3600)))
        parameters.reportMissing("name")
        self.init(name: name ?? "", port: port ?? 0)
        self.type = type.flatMap(RecordType.init) ?? .a
        self.interval = interval ?? self.interval
        if self.type == .a {
            parameters.reportMissing("port")
        } else if port != nil {
            parameters.diagnostics.warning(
                "parameter \"port\" is not used with SRV, whose records name the ports",
                at: parameters.position(of: "port")
            )
        }
        guard !self.name.isEmpty, self.type == .srv || self.port > 0 else { return nil }
    }
}

/// Endpoints from the DNS, looked up again and again.
///
/// A name without records is a pool without endpoints; while no server can say, the last endpoints stay.
package final class DNSDiscovery: Sendable {
    package enum Event: Sendable, Equatable {
        /// The endpoints, when they are first known and after each change, sorted by address.
        case endpoints([EndpointDescription])
        /// Told once, until a look-up succeeds again.
        case failing(String)
        case recovered
    }

    private let settings: DNSDiscoverySettings
    private let namespace: String
    private let resolver: @Sendable () -> DNSResolver
    private let onEvent: @Sendable (Event) -> Void
    private let thread = Lock<pthread_t?>(nil)
    /// Closing the writing end stops the thread.
    private let stopReader: Int32
    private let stopWriter: Lock<Int32>

    /// Looks up from now on, on a thread of its own.
    ///
    /// - Parameters:
    ///   - resolver: asked for before each round, since the system's may change.
    ///   - onEvent: called on that thread.
    package init(
        _ settings: DNSDiscoverySettings,
        namespace: String = "default",
        resolver: @escaping @Sendable () -> DNSResolver = { .system() },
        onEvent: @escaping @Sendable (Event) -> Void
    ) {
        self.settings = settings
        self.namespace = namespace
        self.resolver = resolver
        self.onEvent = onEvent
        var ends: [Int32] = [-1, -1]
        pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        stopReader = ends[0]
        stopWriter = Lock(ends[1])
        start()
    }

    deinit {
        stopWriter.withLock { writer in _ = writer >= 0 ? close(writer) : 0 }
        close(stopReader)
    }

    /// Ends the thread; no event comes after it has returned. Must not be called by an event.
    package func stop() {
        stopWriter.withLock { writer in
            if writer >= 0 { close(writer) }
            writer = -1
        }
        if let thread = thread.withLock({ exchange(&$0, with: nil) }) { pthread_join(thread, nil) }
    }

    private func start() {
        // The thread holds the discovery until it is stopped.
        let context = Unmanaged.passRetained(self)
        var created = pthread_t()
        let code = pthread_create(
            &created,
            nil,
            { context in
                if let context { Unmanaged<DNSDiscovery>.fromOpaque(context).takeRetainedValue().run() }
                return nil
            },
            context.toOpaque()
        )
        let id = created
        if code == 0 { thread.withLock { $0 = id } } else { context.release() }
    }

    private func run() {
        var last: [EndpointDescription]?
        var isFailing = false
        var families: Set<Family> = []
        repeat {
            do {
                var told: Set<Family> = []
                let endpoints = try lookUp(resolver(), known: families, &told)
                families = told
                if isFailing { onEvent(.recovered) }
                isFailing = false
                if endpoints != last { onEvent(.endpoints(endpoints)) }
                last = endpoints
            } catch {
                if !isFailing { onEvent(.failing(error.description)) }
                isFailing = true
            }
        } while !isStopped(within: settings.interval)
    }

    /// Waits; true when the thread must end.
    private func isStopped(within time: Duration) -> Bool {
        var entry = pollfd(fd: stopReader, events: Int16(POLLIN), revents: 0)
        let end = MonotonicTime.now() + time
        while true {
            let left = end.elapsed(since: .now()).nanoseconds
            let count = poll(&entry, 1, Int32(clamping: (left + 999_999) / 1_000_000))
            if count != 0 { if count > 0 || errno != EINTR { return true } } else { return false }
        }
    }

    // MARK: Looking up

    /// A name's addresses of one kind.
    private struct Family: Hashable {
        let name: String
        let isIPv6: Bool
    }

    /// - Parameters:
    ///   - known: the families that had addresses the last time.
    ///   - told: gets those that have some now.
    private func lookUp(
        _ resolver: DNSResolver,
        known: Set<Family>,
        _ told: inout Set<Family>
    ) throws(DNSResolver.Failure) -> [EndpointDescription] {
        var places: Set<String> = []
        var endpoints: [EndpointDescription] = []
        func add(_ address: String, _ port: Int) {
            let place = Endpoint.hostPort(address: address, port: port)
            guard places.insert(place).inserted else { return }
            endpoints.append(EndpointDescription(name: place, namespace: namespace, address: address, port: port))
        }
        switch settings.type {
        case .a:
            let addresses = try addresses(of: settings.name, resolver, known, &told)
            for address in addresses { add(address, settings.port) }
        case .srv:
            let answer = try resolver.records(settings.name, .srv)
            let services = answer.records.compactMap { record -> (priority: Int, port: Int, target: String)? in
                guard case .service(let priority, let port, let target) = record, port > 0, !target.isEmpty else {
                    return nil
                }
                return (priority, port, target)
            }
            // The others are for when nobody of these is there at all.
            let best = services.map(\.priority).min()
            for service in services where service.priority == best {
                let along = answer.additional[service.target] ?? []
                let addresses =
                    try along.isEmpty ? addresses(of: service.target + ".", resolver, known, &told) : along
                for address in addresses { add(address, service.port) }
            }
        }
        return endpoints.sorted { $0.name < $1.name }
    }

    /// IPv4 and IPv6. There are servers that never answer for one of them: that does not matter when there are addresses of the other kind. But
    /// a family that had addresses has not lost them because of a lost answer.
    private func addresses(
        of name: String,
        _ resolver: DNSResolver,
        _ known: Set<Family>,
        _ told: inout Set<Family>
    ) throws(DNSResolver.Failure) -> [String] {
        var addresses: [String] = []
        var failure: DNSResolver.Failure?
        for type in [DNSType.a, .aaaa] {
            let family = Family(name: name, isIPv6: type == .aaaa)
            do {
                for case .address(let address) in try resolver.records(name, type).records {
                    addresses.append(address)
                    told.insert(family)
                }
            } catch {
                if known.contains(family) { throw error }
                failure = error
            }
        }
        if addresses.isEmpty, let failure { throw failure }
        return addresses
    }
}
