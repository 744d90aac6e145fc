internal import Configuration

/// The plugin types, and what makes an instance of each.
enum PluginRegistry {
    /// Reads the parameters, all of which it must ask for; nil when one is missing or wrong, which it has then reported.
    typealias Factory = @Sendable (inout Fields) -> PluginInstance?

    private static let factories: [String: Factory] = [
        filterPlugins, scorerPlugins, sessionPlugins, pickerPlugins, profileHandlerPlugins, deciderPlugins,
        producerPlugins, tokenPlugins, dataLayerPlugins, requestPlugins, flowControlPlugins,
    ].reduce(into: [:]) { all, some in all.merge(some) { first, _ in first } }

    /// Every type that this version can make.
    static var availableTypes: [String] { factories.keys.sorted() }

    /// Makes an instance. Unknown types, unknown parameters and wrong values are reported at their places.
    static func make(_ plugin: EndpointPickerConfiguration.Plugin, _ diagnostics: Diagnostics) -> PluginInstance {
        guard let factory = factories[plugin.type] else {
            reportUnknown(plugin, diagnostics)
            return .unusable
        }
        if let advice = deprecatedTypes[plugin.type] {
            diagnostics.warning(
                "plugin type \(quoted(plugin.type)) is deprecated: \(advice)",
                at: plugin.typePosition
            )
        }
        var parameters = Fields(plugin.parameters, diagnostics, noun: "parameter", at: plugin.position)
        let instance = factory(&parameters)
        parameters.finish()
        return instance ?? .unusable
    }

    /// Old names, and what to do about them.
    private static let deprecatedTypes = [
        "by-label": "use \"label-selector-filter\"",
        "by-label-selector": "use \"label-selector-filter\"",
        "pd-profile-handler": "use \"disagg-profile-handler\"",
        "disagg-headers-handler": "\"disagg-profile-handler\" sets the headers itself",
        "prefill-header-handler": "\"disagg-profile-handler\" sets the headers itself",
    ]

    private static func reportUnknown(_ plugin: EndpointPickerConfiguration.Plugin, _ diagnostics: Diagnostics) {
        let type = quoted(plugin.type)
        if laterTypes.contains(plugin.type) {
            diagnostics.error("plugin type \(type) is not available yet in this version", at: plugin.typePosition)
            return
        }
        let known = (availableTypes + laterTypes).sorted()
        let hint = ClosestName.hint(for: plugin.type, among: known)
        diagnostics.error("unknown plugin type \(type)\(hint)", at: plugin.typePosition)
    }
}
