internal import Bytes
internal import Configuration
internal import Scheduling

extension PluginRegistry {
    /// Session affinity, and the producer that says what a session is.
    static let sessionPlugins: [String: Factory] = [
        "session-affinity-filter": { sessionAffinity(&$0) { .filter(SessionAffinityFilter($0)) } },
        "session-affinity-scorer": { sessionAffinity(&$0) { .scorer(SessionAffinityScorer($0)) } },
        "session-id-producer": { parameters in
            let header = parameters.nonEmptyString("headerName")
            let cookie = parameters.nonEmptyString("cookieName")
            let capacity = parameters.integer("lruSize", in: 1...1 << 20) ?? 1_024
            let life = parameters.duration("ttl", in: .milliseconds(1)...(.seconds(86_400 * 365))) ?? .seconds(1_800)
            guard (header == nil) != (cookie == nil) else {
                parameters.diagnostics.error(
                    "one of the parameters \"headerName\" and \"cookieName\" is needed, and only one",
                    at: parameters.position
                )
                return nil
            }
            let source =
                header.map { SessionRegistry.Source.header(ASCII.lowercased($0)) } ?? .cookie(cookie ?? "")
            return .sessionProducer(
                SessionRegistry(
                    sources: [source],
                    bindings: SessionBindings(capacity: capacity, timeToLive: life)
                )
            )
        },
    ]

    private static func sessionAffinity(
        _ parameters: inout Fields,
        _ make: @escaping @Sendable (SessionAffinity) -> PluginInstance
    ) -> PluginInstance? {
        let strategies = ["encoded_endpoint_header", "session_id", "session_id_header"]
        let strategy = parameters.string("strategy", oneOf: strategies) ?? "encoded_endpoint_header"
        var header = parameters.nonEmptyString("headerName").map(ASCII.lowercased)
        if var encoded = parameters.mapping("encodedEndpointHeaderConfig") {
            let name = encoded.nonEmptyString("headerName").map(ASCII.lowercased)
            encoded.finish()
            // Only the mapping of the strategy counts.
            if strategy == "encoded_endpoint_header" { header = name ?? header }
        }
        let profile = parameters.nonEmptyString("profileName")
        let profilePosition = parameters.position(of: "profileName")
        let producer = parameters.nonEmptyString("sessionIDProducerName")
        let producerPosition = parameters.position(of: "sessionIDProducerName")
        let seconds = 0.001...Double(86_400 * 365)
        // Sessions are forgotten as others come: there is nothing to sweep.
        var life = parameters.number("evictionTtlSeconds", in: seconds)
        let sweep = parameters.number("evictionSweepSeconds", in: seconds)
        var sources = sessionSources(&parameters)
        if var identified = parameters.mapping("sessionIdConfig") {
            let nestedLife = identified.number("evictionTtlSeconds", in: seconds)
            _ = identified.number("evictionSweepSeconds", in: seconds)
            let nestedSources = sessionSources(&identified)
            identified.finish()
            if strategy == "session_id" {
                life = nestedLife ?? life
                sources += nestedSources
            }
        }
        // An unbound session has no preference, but in the strategy of older versions: there it goes where the fewest are.
        let placesNew = strategy == "session_id_header"
        if strategy == "encoded_endpoint_header" {
            for (name, isGiven) in [
                ("evictionTtlSeconds", life != nil), ("evictionSweepSeconds", sweep != nil),
                ("sources", !sources.isEmpty),
            ] where isGiven {
                warnWithoutEffect(name, &parameters, "strategy \"encoded_endpoint_header\" remembers no sessions")
            }
        }
        return .needsOthers { [header, life, sources] lookup in
            if let profile, !lookup.hasProfile(profile) {
                let hint = ClosestName.hint(for: profile, among: lookup.configuration.profiles.map(\.name))
                lookup.diagnostics.error("no profile is named \(quoted(profile))\(hint)", at: profilePosition)
            }
            if let producer {
                guard let registry = sessionProducer(producer, producerPosition, lookup) else { return .unusable }
                return make(.identifier(registry))
            }
            guard strategy != "encoded_endpoint_header" else {
                return make(.token(SessionToken(header: header ?? SessionToken.defaultHeader, profile: profile)))
            }
            var resolved = header.map { [SessionRegistry.Source.header($0)] } ?? []
            for source in sources {
                switch source {
                case .header(let name): resolved.append(.header(name))
                case .attribute(let name, let position):
                    guard let registry = sessionProducer(name, position, lookup) else { return .unusable }
                    resolved += registry.sources
                }
            }
            if resolved.isEmpty { resolved = [.header(SessionRegistry.defaultHeader)] }
            let timeToLive = life.map { Duration.nanoseconds(Int64($0 * 1e9)) } ?? SessionRegistry.defaultTimeToLive
            return make(
                .identifier(
                    SessionRegistry(
                        sources: resolved,
                        profile: profile,
                        placesNew: placesNew,
                        bindings: SessionBindings(timeToLive: timeToLive)
                    )
                )
            )
        }
    }

    private enum SourceReference: Sendable {
        /// In lower case.
        case header(String)
        /// Of a session-id-producer.
        case attribute(String, SourcePosition)
    }

    private static func sessionSources(_ parameters: inout Fields) -> [SourceReference] {
        parameters.list("sources", limit: 100).compactMap { node in
            var source = Fields(node, parameters.diagnostics)
            let header = source.string("header").flatMap { $0.isEmpty ? nil : $0 }
            let attribute = source.string("attribute").flatMap { $0.isEmpty ? nil : $0 }
            let producer = source.string("producer").flatMap { $0.isEmpty ? nil : $0 }
            let position = source.position(of: producer == nil ? "attribute" : "producer")
            source.finish()
            guard (header == nil) != (attribute == nil) else {
                source.diagnostics.error(
                    "one of \"header\" and \"attribute\" is needed, and only one",
                    at: source.position
                )
                return nil
            }
            if let header { return .header(ASCII.lowercased(header)) }
            // The producer says which of those that there are, where the attribute alone does not.
            return attribute.map { .attribute(producer ?? $0, position) }
        }
    }

    /// The producer with this name. An attribute's whole name, which has the producer's in it, does as well.
    private static func sessionProducer(
        _ name: String,
        _ position: SourcePosition,
        _ lookup: PluginLookup
    ) -> SessionRegistry? {
        let parts = [name] + name.split(separator: "/").map(String.init)
        for part in parts {
            if case .sessionProducer(let registry)? = lookup.instances[part] {
                lookup.use(part)
                return registry
            }
        }
        let producers = lookup.instances.filter { if case .sessionProducer = $0.value { true } else { false } }.keys
        let hint = ClosestName.hint(for: name, among: producers.sorted())
        lookup.diagnostics.error("no session-id-producer is named \(quoted(name))\(hint)", at: position)
        return nil
    }
}
