import Certificates
import Foundation
import TestSupport

/// Certificates for one deployment, as files.
struct TLSFiles: Sendable {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    /// A pair for 127.0.0.1.
    static func serverPair() throws -> KeyPair {
        try KeyPair.selfSigned(names: ["localhost"], addresses: ["127.0.0.1"])
    }

    func write(certificateOf pair: KeyPair) throws {
        try directory.write(pair.certificateChain, to: "tls.crt")
    }

    func write(keyOf pair: KeyPair) throws {
        try directory.write(pair.privateKey, to: "tls.key")
    }

    /// Puts both files into a new directory and swaps the link `..data` that leads to it, as Kubernetes does.
    func swap(to pair: KeyPair) throws {
        let files = FileManager.default
        let version = "..version-\(UUID().uuidString)"
        try files.createDirectory(atPath: "\(directory.path)/\(version)", withIntermediateDirectories: false)
        try directory.write(pair.certificateChain, to: "\(version)/tls.crt")
        try directory.write(pair.privateKey, to: "\(version)/tls.key")
        try files.createSymbolicLink(atPath: "\(directory.path)/..new", withDestinationPath: version)
        guard rename("\(directory.path)/..new", "\(directory.path)/..data") == 0 else {
            throw TestFailure("the link cannot be swapped")
        }
        for name in ["tls.crt", "tls.key"] where !files.fileExists(atPath: "\(directory.path)/\(name)") {
            try files.createSymbolicLink(
                atPath: "\(directory.path)/\(name)",
                withDestinationPath: "..data/\(name)"
            )
        }
    }
}
