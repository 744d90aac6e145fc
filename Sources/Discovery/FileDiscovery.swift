package import Configuration
package import Pool

/// The parameters of the plugin `file-discovery`.
package struct FileDiscoverySettings: Sendable, Equatable {
    package var path: String
    /// Whether changes of the file take effect while the program runs.
    package var watchFile = false

    package init(path: String, watchFile: Bool = false) {
        self.path = path
        self.watchFile = watchFile
    }

    /// Reads the parameters; what is wrong goes to `diagnostics`.
    ///
    /// - Parameter position: where the plugin stands.
    package init?(parameters: YAMLNode?, _ diagnostics: Diagnostics, at position: SourcePosition) {
        var fields = Fields(parameters, diagnostics, noun: "parameter", at: position)
        let path = fields.string("path")
        let watchFile = fields.bool("watchFile")
        fields.finish()
        fields.reportMissing("path")
        guard let path, !path.isEmpty else { return nil }
        self.init(path: path, watchFile: watchFile ?? false)
    }
}

/// Endpoints from a file that may change.
///
/// A change takes effect as a whole or not at all: while the file is missing or something in it is wrong, the last good list stays.
package final class FileDiscovery: Sendable {
    package enum Event: Sendable {
        /// The file's endpoints, at the start and after each change.
        case endpoints([EndpointDescription])
        /// A change that does not count, and why.
        case rejected([Diagnostic])
    }

    /// Why there is nothing to start with.
    package struct Failure: Error, CustomStringConvertible {
        package let diagnostics: [Diagnostic]

        package var description: String { diagnostics.map(\.description).joined(separator: "\n") }
    }

    private let watcher: FileWatcher?

    /// Reads the file, calls `onEvent` with its endpoints, and watches the file if the settings say so.
    ///
    /// - Parameter onEvent: called once before this returns and then on the watcher's thread, never twice at a time.
    package init(
        _ settings: FileDiscoverySettings,
        namespace: String = "default",
        onEvent: @escaping @Sendable (Event) -> Void
    ) throws(Failure) {
        let path = settings.path
        // Watching starts before reading, so that no change can fall between the two.
        let watcher = settings.watchFile ? FileWatcher(path: path) : nil
        switch Self.load(path, namespace) {
        case .failure(let failure): throw failure
        case .success(let endpoints): onEvent(.endpoints(endpoints))
        }
        self.watcher = watcher
        watcher?.start {
            switch Self.load(path, namespace) {
            case .failure(let failure): onEvent(.rejected(failure.diagnostics))
            case .success(let endpoints): onEvent(.endpoints(endpoints))
            }
        }
    }

    deinit {
        stop()
    }

    /// Ends watching; no event comes after it has returned. Waits for an event under way, so it must not be called by one.
    package func stop() {
        watcher?.stop()
    }

    private static func load(_ path: String, _ namespace: String) -> Result<[EndpointDescription], Failure> {
        let diagnostics = Diagnostics(file: path)
        do {
            let text = try TextFile.read(path)
            if let endpoints = EndpointsFile.parse(text, namespace: namespace, diagnostics) {
                return .success(endpoints)
            }
        } catch {
            diagnostics.error(error.description, at: .start)
        }
        return .failure(Failure(diagnostics: diagnostics.all))
    }
}
