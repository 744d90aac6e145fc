package import Admission
package import Configuration
package import Discovery
package import Orchestration
package import Scheduling

/// All that a configuration decides, ready for use.
package struct SchedulingSetup: Sendable {
    package var scheduler: Scheduler
    /// How metrics are read; nil when the configuration wants none.
    package var metrics: MetricsSettings?
    /// Where the endpoints are listed, if the configuration says so.
    package var discovery: DiscoverySettings?
    /// The types of the parsers, in order, as `ParserSelection` takes them.
    package var parsers: [String]
    /// Who runs the encode and prefill steps of a request, and how.
    package var orchestration = OrchestrationSettings()
    package var responseProcessing = EndpointPickerConfiguration.ResponseProcessing.full
    /// How requests are let in.
    package var admission: AdmissionSettings
    package var objectives = ObjectiveTable()
    package var modelRewrites = ModelRewriteTable()
    package var tokens = TokenProducerSettings()

    package struct MetricsSettings: Sendable, Equatable {
        package var source = MetricsSourceSettings()
        package var extractor = MetricsExtractorSettings()

        package init() {}
    }

    /// The setup when no configuration is given.
    package static func builtIn(prefixIndex: PrefixIndex = PrefixIndex()) -> SchedulingSetup {
        let configuration = EndpointPickerConfiguration.builtIn
        var assembler = SetupAssembler(configuration, Diagnostics(file: configuration.file), prefixIndex)
        return assembler.assemble()
    }
}

extension ConfigurationLoader {
    /// Reads a configuration and assembles what it decides. A pure function over bytes.
    ///
    /// - Parameter prefixIndex: what earlier configurations remembered of prompts; kept on.
    /// - Returns: the setup, or nil when there are errors; and everything found, in the order of the text.
    package static func setup(
        text: [UInt8],
        file: String,
        prefixIndex: PrefixIndex = PrefixIndex()
    ) -> (setup: SchedulingSetup?, diagnostics: [Diagnostic]) {
        let diagnostics = Diagnostics(file: file)
        guard let configuration = load(text: text, diagnostics) else { return (nil, diagnostics.all) }
        var assembler = SetupAssembler(configuration, diagnostics, prefixIndex)
        let setup = assembler.assemble()
        return (diagnostics.hasErrors ? nil : setup, diagnostics.all)
    }

    /// `setup(text:file:)` of a file.
    package static func setup(
        path: String,
        prefixIndex: PrefixIndex = PrefixIndex()
    ) -> (setup: SchedulingSetup?, diagnostics: [Diagnostic]) {
        do {
            return setup(text: try TextFile.read(path), file: path, prefixIndex: prefixIndex)
        } catch {
            let diagnostic = Diagnostic(file: path, position: .start, severity: .error, message: "\(error)")
            return (nil, [diagnostic])
        }
    }

    /// Everything that is wrong with, or worth knowing of, a configuration file.
    package static func check(_ path: String) -> [Diagnostic] {
        setup(path: path).diagnostics
    }
}
