import Foundation

/// A real Envoy on ports that the system chose.
package final class EnvoyProcess: Sendable {
    /// Which configuration Envoy runs with.
    package enum Configuration: Sendable {
        /// `deploy/envoy/original-dst.yaml`: the pick is an address.
        case originalDestination(externalProcessorPort: Int)
        /// `deploy/envoy/original-dst-tls.yaml`: the same, over TLS to Apus.
        case originalDestinationTLS(externalProcessorPort: Int)
        /// `deploy/envoy/override-host.yaml`: the pick is one of these ports of 127.0.0.1, and there are retries.
        case overrideHost(externalProcessorPort: Int, endpointPorts: [Int])
        /// A whole bootstrap file. Its listener and its admin have port 0.
        case text(String)

        /// The bootstrap file, with the ports of the listener and the admin 0.
        package func text() throws -> String {
            switch self {
            case .text(let text): text
            case .originalDestination(let port): try template("original-dst", externalProcessorPort: port)
            case .originalDestinationTLS(let port): try template("original-dst-tls", externalProcessorPort: port)
            case .overrideHost(let port, let endpoints):
                try template("override-host", externalProcessorPort: port)
                    .replacing(
                        "@ENDPOINTS@",
                        with: endpoints.map {
                            "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \($0)}}}}"
                        }.joined(separator: ", ")
                    )
            }
        }

        private func template(_ name: String, externalProcessorPort: Int) throws -> String {
            try String(contentsOfFile: "\(Products.root)/deploy/envoy/\(name).yaml", encoding: .utf8)
                .replacing("@EXT_PROC_PORT@", with: String(externalProcessorPort))
                .replacing("@LISTENER_PORT@", with: "0")
                .replacing("@ADMIN_PORT@", with: "0")
        }
    }

    package let process: ChildProcess
    /// Where clients connect.
    package let port: Int
    package let adminPort: Int
    private let directory: TemporaryDirectory

    /// Starts Envoy and returns once it listens.
    package init(_ configuration: Configuration) async throws {
        directory = try TemporaryDirectory()
        let file = try directory.write(configuration.text(), to: "envoy.yaml")
        let adminFile = directory.path + "/admin"
        process = try ChildProcess(
            Products.envoy(),
            [
                "-c", file, "--concurrency", "1", "--disable-hot-restart", "--admin-address-path", adminFile,
                // The line that is awaited is one of the component config.
                "-l", "warning", "--component-log-level", "config:info",
            ]
        )
        _ = try await process.waitForLine(containing: "starting workers")
        adminPort = try Self.port(of: String(contentsOfFile: adminFile, encoding: .utf8))
        let listeners = try await HTTPTestClient(port: adminPort).get("/listeners")
        // One line per listener: its name, two colons, its address.
        guard let line = listeners.text.split(separator: "\n").first, let end = line.firstRange(of: "::") else {
            throw TestFailure("Envoy has no listener: \(listeners.text)")
        }
        port = try Self.port(of: String(line[end.upperBound...]))
    }

    /// A client of the listener.
    package func client(timeout: Duration = .seconds(60)) -> HTTPTestClient {
        HTTPTestClient(port: port, timeout: timeout)
    }

    /// Envoy's counters and gauges whose names contain `filter`, by name.
    package func statistics(containing filter: String) async throws -> [String: Int] {
        let page = try await HTTPTestClient(port: adminPort).get("/stats?filter=\(filter)")
        return Dictionary(
            page.text.split(separator: "\n").compactMap { line in
                let parts = line.split(separator: ":")
                guard parts.count == 2, let value = Int(parts[1].trimmingPrefix { $0 == " " }) else { return nil }
                return (String(parts[0]), value)
            },
            uniquingKeysWith: { $1 }
        )
    }

    private static func port(of address: String) throws -> Int {
        guard let port = address.split(separator: ":").last.flatMap({ Int($0.prefix { $0.isNumber }) }) else {
            throw TestFailure("\"\(address)\" is no address")
        }
        return port
    }
}
