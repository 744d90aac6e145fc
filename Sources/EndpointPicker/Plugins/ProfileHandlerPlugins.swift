internal import Configuration
internal import Scheduling

extension PluginRegistry {
    static let profileHandlerPlugins: [String: Factory] = [
        "single-profile-handler": { _ in .profileHandler(SingleProfileHandler(), allowsSeveralProfiles: false) },
        "data-parallel-profile-handler": { parameters in
            let port = parameters.integer("primaryPort", in: 1...65_535)
            return .profileHandler(
                DataParallelHandler(primaryPort: port ?? DataParallelHandler.defaultPrimaryPort),
                allowsSeveralProfiles: false
            )
        },
        "header-profile-handler": { headerProfileHandler(&$0) },
        "disagg-profile-handler": { DisaggregationParameters(reading: &$0).instance },
        "pd-profile-handler": { DisaggregationParameters(readingOld: &$0).instance },
        // What these did, the profile handler does.
        "disagg-headers-handler": { parameters in
            for name in ["prefillProfile", "encodeProfile"] { _ = parameters.string(name) }
            return .builtIn(kind: "a request plugin")
        },
        "prefill-header-handler": { parameters in
            for name in ["prefillProfile", "encodeProfile"] { _ = parameters.string(name) }
            return .builtIn(kind: "a request plugin")
        },
    ]

    private static func headerProfileHandler(_ parameters: inout Fields) -> PluginInstance {
        let header = parameters.nonEmptyString("headerName") ?? HeaderProfileHandler.defaultHeaderName
        let profile = parameters.nonEmptyString("defaultProfile") ?? HeaderProfileHandler.defaultProfileName
        let position = parameters.position(of: "defaultProfile")
        return .needsOthers { lookup in
            if lookup.configuration.profiles.count > 1, !lookup.hasProfile(profile) {
                let hint = ClosestName.hint(for: profile, among: lookup.configuration.profiles.map(\.name))
                lookup.diagnostics.error("no profile is named \(quoted(profile))\(hint)", at: position)
            }
            return .profileHandler(
                HeaderProfileHandler(headerName: header, defaultProfile: profile),
                allowsSeveralProfiles: true
            )
        }
    }
}
