import TestSupport
import Testing

@testable import RPC

/// Runs `body` with a server on a free port of the loopback and shuts it down on every way out.
func withServer<R>(
    _ services: [String: Handler],
    configure: (inout ServerConfiguration) -> Void = { _ in },
    _ body: (Server) async throws -> sending R
) async throws -> sending R {
    var configuration = ServerConfiguration(bindAddress: "127.0.0.1", port: 0)
    configure(&configuration)
    let server = try Server(configuration: configuration, services: services)
    do {
        let result = try await body(server)
        await server.shutdown(grace: .seconds(5))
        return result
    } catch {
        await server.shutdown(grace: .zero)
        throw error
    }
}

/// Sends every message back until the peer is done.
let echoHandler: Handler = { call in
    do throws(RPCError) {
        while let message = try await call.receive() {
            try await call.send(byteCount: message.byteCount) { target in
                message.withUnsafeBytes { target.copyMemory(from: $0) }
            }
        }
        return .ok
    } catch {
        return error.status
    }
}
