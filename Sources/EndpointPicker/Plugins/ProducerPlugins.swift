internal import Configuration
internal import Scheduling

extension PluginRegistry {
    static let producerPlugins: [String: Factory] = [
        "approx-prefix-cache-producer": { parameters in .prefixCache(prefixCacheSettings(&parameters).settings) },
        "inflight-load-producer": { parameters in
            var settings = InFlightLoad()
            settings.addEstimatedOutputTokens = parameters.bool("addEstimatedOutputTokens") ?? false
            settings.outputRatio = parameters.number("outputRatio", in: 0...1e6) ?? InFlightLoad.defaultOutputRatio
            settings.maxEstimatedOutputTokens = parameters.integer("maxEstimatedOutputTokens", in: 0...1 << 40)
            for name in ["outputRatio", "maxEstimatedOutputTokens"]
            where !settings.addEstimatedOutputTokens && parameters.node(name) != nil {
                parameters.diagnostics.warning(
                    "parameter \(quoted(name)) has no effect without addEstimatedOutputTokens",
                    at: parameters.keyPosition(of: name)
                )
            }
            warnWithoutEffect("syncCrossReplicaState", &parameters)
            let producer = parameters.string("prefixMatchInfoProducerName")
            let position = parameters.position(of: "prefixMatchInfoProducerName")
            return .needsOthers { [settings] lookup in
                lookup.checkPrefixProducer(producer, at: position)
                return .inFlightLoad(settings)
            }
        },
    ]

    /// The parameters of the approximate prefix cache, which a prefix-cache-scorer takes as well.
    ///
    /// - Returns: the settings, and whether any parameter was given.
    static func prefixCacheSettings(_ parameters: inout Fields) -> (settings: PrefixCacheSettings, given: Bool) {
        var settings = PrefixCacheSettings()
        let autoTune = parameters.bool("autoTune")
        let blockSize = parameters.integer("blockSizeTokens", in: 1...1 << 20)
        let blocks = parameters.integer("maxPrefixBlocksToMatch", in: 1...1 << 20)
        let tokens = parameters.integer("maxPrefixTokensToMatch", in: 0...1 << 26)
        let capacity = parameters.integer("lruCapacityPerServer", in: 1...1 << 24)
        if parameters.node("blockSize") != nil {
            parameters.diagnostics.error(
                "parameter \"blockSize\" is no longer supported; use \"blockSizeTokens\"",
                at: parameters.keyPosition(of: "blockSize")
            )
        }
        settings.autoTune = autoTune ?? settings.autoTune
        settings.blockSizeTokens = blockSize ?? settings.blockSizeTokens
        settings.maxPrefixBlocksToMatch = blocks ?? settings.maxPrefixBlocksToMatch
        // A limit in blocks that somebody wrote counts against the default limit in tokens, which would hide it.
        settings.maxPrefixTokensToMatch = tokens ?? (blocks == nil ? settings.maxPrefixTokensToMatch : 0)
        settings.lruCapacityPerServer = capacity ?? settings.lruCapacityPerServer
        settings.isCapacityGiven = capacity != nil
        let minimum = PrefixCacheSettings.minimumBlockTokens
        if let blockSize, blockSize < minimum, !settings.autoTune {
            parameters.diagnostics.warning(
                "parameter \"blockSizeTokens\" below \(minimum) counts as \(minimum) without autoTune",
                at: parameters.position(of: "blockSizeTokens")
            )
        }
        let given = autoTune != nil || blockSize != nil || blocks != nil || tokens != nil || capacity != nil
        return (settings, given)
    }
}
