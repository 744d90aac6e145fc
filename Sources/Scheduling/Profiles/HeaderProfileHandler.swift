internal import Bytes

/// `header-profile-handler`: the request names the profile that picks for it. For a coordinator that asks once for each stage.
///
/// A request with the preference `if-available` (RFC 7240) wants an endpoint only if it holds enough of the prompt: when it does not, the
/// decision fails with `notCached`. What enough is says a `prefix-based-pd-decider`; without one, any block is.
package struct HeaderProfileHandler: ProfileHandler {
    package static let defaultHeaderName = "epp-profile"
    package static let defaultProfileName = "decode"

    /// In lower case.
    package let headerName: String
    package let defaultProfile: String
    package let conditionalDecider: PrefixBasedDecider?

    package init(
        headerName: String = defaultHeaderName,
        defaultProfile: String = defaultProfileName,
        conditionalDecider: PrefixBasedDecider? = nil
    ) {
        self.headerName = ASCII.lowercased(headerName)
        self.defaultProfile = defaultProfile
        self.conditionalDecider = conditionalDecider
    }

    package var traits: ProfileHandlerTraits {
        var traits = ProfileHandlerTraits()
        traits.readsPrefixMatches = true
        traits.profileHeader = headerName
        return traits
    }

    package func next(_ cycle: SchedulingCycle) -> [Int] {
        guard cycle.ran.isEmpty else { return [] }
        // With one profile there is nothing to choose.
        if cycle.profiles.count == 1 { return [0] }
        return cycle.index(of: requestedProfile(cycle.request)).map { [$0] } ?? []
    }

    package func route(_ cycle: SchedulingCycle) throws(SchedulingError) -> Route {
        guard let index = cycle.ran.first else {
            let name = requestedProfile(cycle.request)
            throw SchedulingError(.unknownProfile, "no scheduling profile is named \"\(name.prefix(60))\"")
        }
        guard let result = cycle.result(index) else { throw .noEndpoints }
        if cycle.request.header("prefer").map(Self.isConditional) == true, !holds(cycle.request, at: result.index) {
            throw SchedulingError(.notCached, "no decode worker has the requested KV cache")
        }
        return Route(primary: index)
    }

    private func requestedProfile(_ request: SchedulingRequest) -> String {
        let value = String(ASCII.trimmed((request.header(headerName) ?? "")[...]))
        return value.isEmpty ? defaultProfile : value
    }

    /// Whether the endpoint holds enough of the prompt.
    private func holds(_ request: SchedulingRequest, at index: Int) -> Bool {
        if let conditionalDecider, request.prefixMatches != nil {
            return !conditionalDecider.disaggregates(request, decode: index)
        }
        return (request.prefixMatches?.blocks(at: index) ?? 0) > 0
    }

    /// Whether a `Prefer` header, a list of `token[=value][;parameter…]`, has the preference.
    static func isConditional(_ value: String) -> Bool {
        value.split(separator: ",").contains { preference in
            let name = preference.prefix { $0 != ";" && $0 != "=" }
            return ASCII.equalsIgnoringCase(String(ASCII.trimmed(name)), "if-available")
        }
    }
}
