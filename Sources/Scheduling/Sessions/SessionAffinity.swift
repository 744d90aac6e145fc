internal import Bytes
internal import Pool

/// How session affinity tells where a session belongs; shared by the filter and the scorer.
package enum SessionAffinity: Sendable {
    /// `encoded_endpoint_header`: the client sends back what the response named. Nothing is remembered.
    case token(SessionToken)
    /// `session_id`: the client names its session, and Apus remembers where it was.
    case identifier(SessionRegistry)

    var observer: (any DecisionObserver)? {
        if case .identifier(let registry) = self { registry } else { nil }
    }

    var token: SessionToken? {
        if case .token(let token) = self { token } else { nil }
    }

    /// The position of the session's endpoint among the candidates; nil when there is no session, or it may go anywhere.
    func position(in candidates: Candidates, _ request: SchedulingRequest) -> Int? {
        switch self {
        case .token(let token): token.position(in: candidates, request)
        case .identifier(let registry): registry.position(in: candidates, request)
        }
    }
}

/// Sessions that clients name, and the endpoints that they were given.
///
/// A session without an endpoint among the candidates goes where scheduling sends it, or, with `placesNew`, to the candidate with the fewest
/// sessions.
package struct SessionRegistry: DecisionObserver {
    /// Where a session's name is looked for; the first that has one counts.
    package enum Source: Sendable, Equatable {
        /// In lower case.
        case header(String)
        case cookie(String)

        func identifier(_ request: SchedulingRequest) -> String? {
            let value: Substring?
            switch self {
            case .header(let name): value = request.header(name)?[...]
            case .cookie(let name): value = Self.cookie(name, in: request.header("cookie") ?? "")
            }
            guard let value else { return nil }
            let trimmed = ASCII.trimmed(value)
            // Names are kept for a while: a client may not make them costly.
            return trimmed.isEmpty || trimmed.utf8.count > 256 ? nil : String(trimmed)
        }

        private static func cookie(_ name: String, in header: String) -> Substring? {
            for pair in header.split(separator: ";") {
                let parts = ASCII.trimmed(pair).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                if parts.count == 2, parts[0] == name { return parts[1] }
            }
            return nil
        }
    }

    package static let defaultHeader = "x-session-id"
    package static let defaultTimeToLive = Duration.seconds(300)

    package let sources: [Source]
    /// The profile whose pick a session is given to; nil for where its request went.
    package let profile: String?
    package let placesNew: Bool
    package let bindings: SessionBindings

    package init(
        sources: [Source] = [.header(defaultHeader)],
        profile: String? = nil,
        placesNew: Bool = true,
        bindings: SessionBindings
    ) {
        self.sources = sources
        self.profile = profile
        self.placesNew = placesNew
        self.bindings = bindings
    }

    package func identifier(_ request: SchedulingRequest) -> String? {
        sources.lazy.compactMap { $0.identifier(request) }.first
    }

    func position(in candidates: Candidates, _ request: SchedulingRequest) -> Int? {
        guard let session = identifier(request) else { return nil }
        if let number = bindings.endpoint(of: session, at: request.now),
            let position = candidates.list.indices.first(where: { candidates.endpoint($0).number == number })
        {
            return position
        }
        guard placesNew else { return nil }
        let counts = bindings.sessionCounts(candidates)
        // Of equals the one with the lowest number, so that the order of the candidates plays no part.
        return candidates.list.indices.min { left, right in
            (counts[left], candidates.endpoint(left).number) < (counts[right], candidates.endpoint(right).number)
        }
    }

    /// The session moves only when its endpoint could not be picked: that another was picked over it is no reason to leave its cache.
    package func decided(_ request: SchedulingRequest, _ result: SchedulingResult) {
        guard let session = identifier(request) else { return }
        guard let picked = profile.map({ result.result(of: $0) }) ?? result.primary else { return }
        var number = picked.endpoint.number
        if let bound = bindings.endpoint(of: session, at: request.now), bound != number,
            picked.candidates.list.indices.contains(where: { picked.candidates.endpoint($0).number == bound })
        {
            number = bound
        }
        bindings.bind(session, to: number, at: request.now)
    }

    /// Sessions are the same when they are named in the same way and belong to the same profile's pick.
    package func takeOver(from earlier: any DecisionObserver) {
        guard let earlier = earlier as? SessionRegistry, earlier.sources == sources, earlier.profile == profile else {
            return
        }
        bindings.copy(earlier.bindings)
    }
}
