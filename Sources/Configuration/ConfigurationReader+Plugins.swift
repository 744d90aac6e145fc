/// The sections `plugins` and `schedulingProfiles`.
extension ConfigurationReader {
    func plugins(_ nodes: [YAMLNode]) -> [EndpointPickerConfiguration.Plugin] {
        var plugins: [EndpointPickerConfiguration.Plugin] = []
        var lines: [String: Int] = [:]
        for node in nodes {
            var fields = Fields(node, diagnostics)
            let name = fields.string("name")
            let type = fields.string("type")
            let parameters = fields.node("parameters")
            fields.finish()
            if let parameters, parameters.entries == nil {
                diagnostics.error(
                    "parameters must be a mapping (key: value), not \(parameters.kind)",
                    at: parameters.position
                )
            }
            guard let type, !type.isEmpty else {
                fields.reportMissing("type")
                continue
            }
            let plugin = EndpointPickerConfiguration.Plugin(
                name: name.flatMap { $0.isEmpty ? nil : $0 },
                type: type,
                parameters: parameters?.entries == nil ? nil : parameters,
                position: node.position,
                typePosition: fields.position(of: "type")
            )
            if let line = lines[plugin.name] {
                let place = name == nil ? fields.position(of: "type") : fields.position(of: "name")
                diagnostics.error("a plugin named \(quoted(plugin.name)) exists already, on line \(line)", at: place)
                continue
            }
            lines[plugin.name] = node.position.line
            plugins.append(plugin)
        }
        return plugins
    }

    func profiles(_ nodes: [YAMLNode], _ names: Set<String>) -> [EndpointPickerConfiguration.Profile] {
        var profiles: [EndpointPickerConfiguration.Profile] = []
        for node in nodes {
            var fields = Fields(node, diagnostics)
            let name = fields.string("name")
            let plugins = fields.list("plugins", limit: Self.listLimit).compactMap { profilePlugin($0, names) }
            fields.finish()
            guard let name, !name.isEmpty else {
                fields.reportMissing("name")
                continue
            }
            if profiles.contains(where: { $0.name == name }) {
                diagnostics.error("a profile named \(quoted(name)) exists already", at: fields.position(of: "name"))
                continue
            }
            profiles.append(EndpointPickerConfiguration.Profile(name: name, plugins: plugins, position: node.position))
        }
        return profiles
    }

    private func profilePlugin(_ node: YAMLNode, _ names: Set<String>) -> EndpointPickerConfiguration.ProfilePlugin? {
        var fields = Fields(node, diagnostics)
        let plugin = reference(&fields, names)
        // Beyond the upper bound a sum of scores would lose its digits.
        let weight = fields.number("weight", in: 0...1e6)
        fields.finish()
        return plugin.map {
            EndpointPickerConfiguration.ProfilePlugin(
                $0,
                weight: weight,
                weightPosition: fields.position(of: "weight")
            )
        }
    }

    /// `{pluginRef: NAME}` and nothing else.
    func reference(in node: YAMLNode, _ names: Set<String>) -> EndpointPickerConfiguration.Reference? {
        var fields = Fields(node, diagnostics)
        let reference = reference(&fields, names)
        fields.finish()
        return reference
    }

    /// The member `pluginRef`; it must name a plugin of the file.
    func reference(_ fields: inout Fields, _ names: Set<String>) -> EndpointPickerConfiguration.Reference? {
        guard let name = fields.string("pluginRef"), !name.isEmpty else {
            fields.reportMissing("pluginRef")
            return nil
        }
        let position = fields.position(of: "pluginRef")
        guard names.contains(name) else {
            let hint = diagnostics.isFull ? "" : ClosestName.hint(for: name, among: names.sorted())
            diagnostics.error("no plugin is named \(quoted(name))\(hint)", at: position)
            return nil
        }
        return EndpointPickerConfiguration.Reference(name, at: position)
    }
}
