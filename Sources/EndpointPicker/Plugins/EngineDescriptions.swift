internal import Configuration
internal import Scraping

/// `engineConfigs` of the `core-metrics-extractor`.
extension PluginRegistry {
    /// More engines than anyone runs; each costs a little time for every page that is read.
    private static let engineLimit = 100

    /// The engines described, by name. One that is described wrongly is among them too, so that references to it are not reported as well.
    static func engines(_ parameters: inout Fields) -> [String: EngineDialect] {
        var engines: [String: EngineDialect] = [:]
        for node in parameters.list("engineConfigs", limit: engineLimit) {
            var fields = Fields(node, parameters.diagnostics, noun: "parameter")
            fields.reportMissing("name")
            let name = fields.string("name") ?? ""
            let dialect = dialect(&fields, engine: name)
            fields.finish()
            guard !name.isEmpty else { continue }
            if engines.updateValue(dialect, forKey: name) != nil {
                parameters.diagnostics.error(
                    "engine \(quoted(name)) is described more than once",
                    at: fields.position(of: "name")
                )
            }
        }
        return engines
    }

    /// Replaces a known engine of that name altogether: what is not said is not read. Only the names of the labels are that engine's, or else
    /// vLLM's.
    private static func dialect(_ fields: inout Fields, engine name: String) -> EngineDialect {
        let known = EngineDialects.builtIn[name].flatMap { $0.cacheInfo == nil ? nil : $0 } ?? .vllm
        var dialect = EngineDialect()
        dialect.queuedRequests = selector("queuedRequestsSpec", &fields)
        dialect.runningRequests = selector("runningRequestsSpec", &fields)
        dialect.kvUsage = selector("kvUsageSpec", &fields).map { [$0] } ?? []
        dialect.lora = selector("loraSpec", &fields)
        dialect.cacheInfo = selector("cacheInfoSpec", &fields)
        dialect.blockSizeLabel = label("cacheBlockSizeLabelName", &fields) ?? known.blockSizeLabel
        dialect.blockCountLabel = label("cacheNumBlocksLabelName", &fields) ?? known.blockCountLabel
        dialect.cacheBlockSize = selector("cacheBlockSizeSpec", &fields)
        dialect.cacheBlockCount = selector("cacheNumBlocksSpec", &fields)
        return dialect
    }

    /// An empty text is none.
    private static func selector(_ key: String, _ fields: inout Fields) -> MetricSelector? {
        guard let text = fields.string(key), !text.isEmpty else { return nil }
        do {
            return try MetricSelector(parsing: text)
        } catch {
            fields.diagnostics.error("parameter \(quoted(key)): \(error.message)", at: fields.position(of: key))
            return nil
        }
    }

    private static func label(_ key: String, _ fields: inout Fields) -> String? {
        guard let text = fields.string(key), !text.isEmpty else { return nil }
        return text
    }
}
