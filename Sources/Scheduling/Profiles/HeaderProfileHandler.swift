internal import Bytes

/// `header-profile-handler`: the request names the profile that picks for it. For a coordinator that asks once for each stage.
package struct HeaderProfileHandler: ProfileHandler {
    package static let defaultHeaderName = "epp-profile"
    package static let defaultProfileName = "decode"

    /// In lower case.
    package let headerName: String
    package let defaultProfile: String

    package init(
        headerName: String = defaultHeaderName,
        defaultProfile: String = defaultProfileName
    ) {
        self.headerName = ASCII.lowercased(headerName)
        self.defaultProfile = defaultProfile
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
        guard cycle.result(index) != nil else { throw .noEndpoints }
        return Route(primary: index)
    }

    private func requestedProfile(_ request: SchedulingRequest) -> String {
        let value = String(ASCII.trimmed((request.header(headerName) ?? "")[...]))
        return value.isEmpty ? defaultProfile : value
    }
}
