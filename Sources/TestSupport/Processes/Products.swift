import Foundation

/// Where things lie that tests start or read.
package enum Products {
    /// The repository's root.
    package static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// The path of an executable product (`apus`, `apus-sim`), which is built beside the test program.
    package static func executable(_ name: String) throws -> String {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = URL(filePath: program).deletingLastPathComponent().appending(path: name).path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw TestFailure("\(path) is missing: build the products before the tests (swift build --build-tests)")
        }
        return path
    }

    /// The path of Envoy: what APUS_ENVOY names, else what `deploy/install-envoy.sh` installed.
    package static func envoy() throws -> String {
        let files = FileManager.default
        if let named = ProcessInfo.processInfo.environment["APUS_ENVOY"], !named.isEmpty {
            guard files.isExecutableFile(atPath: named) else {
                throw TestFailure("APUS_ENVOY is \(named), which is no executable")
            }
            return named
        }
        let libraries = root + "/.cache/envoy/lib"
        for python in (try? files.contentsOfDirectory(atPath: libraries)) ?? [] {
            let path = "\(libraries)/\(python)/site-packages/envoy/_bin/envoy"
            if files.isExecutableFile(atPath: path) { return path }
        }
        throw TestFailure("there is no Envoy: run deploy/install-envoy.sh, or set APUS_ENVOY to its path")
    }
}
