import Bytes
import CGRPC
import Glibc
import Synchronization

/// A gRPC client over core for tests: one connection of its own and one thread that reads its completion queue.
///
/// Everything is bytes, so any method can be called with any garbage. `shutdown` must be called at the end;
/// `withGRPCClient` does.
package final class GRPCClient: @unchecked Sendable {
    // Sendable: core's objects are safe to call from any thread; `thread` is written by `init` and read by `shutdown`.

    private struct State {
        var calls: [ObjectIdentifier: GRPCClientCall] = [:]
        var isClosed = false
        var isQueueShutDown = false
    }

    private let channel: OpaquePointer
    let queue: OpaquePointer
    private var thread = pthread_t()
    private let state = Lock(State())
    /// Orders what a caller writes before an operation and what the thread reads at its event, for ThreadSanitizer's eyes:
    /// it cannot see into core.
    private let handedOver = Atomic<Int>(0)

    /// How a client secures its connection; PEM texts.
    package struct TLS: Sendable {
        /// What the server's certificate must lead to; it must name the host, too.
        package var roots: String
        /// The client's own certificate and key.
        package var identity: (certificateChain: String, privateKey: String)?

        package init(roots: String, identity: (certificateChain: String, privateKey: String)? = nil) {
            self.roots = roots
            self.identity = identity
        }

        /// Credentials of core's that the caller releases.
        fileprivate func makeCore() -> OpaquePointer? {
            guard let identity else { return grpc_ssl_credentials_create_ex(roots, nil, nil, nil) }
            return identity.certificateChain.withCString { chain in
                identity.privateKey.withCString { key in
                    var pair = grpc_ssl_pem_key_cert_pair(private_key: key, cert_chain: chain)
                    return grpc_ssl_credentials_create_ex(roots, &pair, nil, nil)
                }
            }
        }
    }

    /// Connects to `host:port` when the first call is made, in plain text where `tls` is nil. `arguments` are core's
    /// integer channel arguments.
    package init(host: String = "127.0.0.1", port: Int, tls: TLS? = nil, arguments: [String: Int] = [:]) {
        grpc_init()
        queue = grpc_completion_queue_create_for_next(nil)
        let all = ["grpc.use_local_subchannel_pool": 1, "grpc.enable_http_proxy": 0]
            .merging(arguments) { $1 }
        var list = all.map { apus_arg_integer(strdup($0.key), Int32(clamping: $0.value)) }
        let credentials = if let tls { tls.makeCore() } else { grpc_insecure_credentials_create() }
        channel = list.withUnsafeMutableBufferPointer { buffer in
            var arguments = grpc_channel_args(num_args: buffer.count, args: buffer.baseAddress)
            return grpc_channel_create("\(host):\(port)", credentials, &arguments)
        }
        grpc_channel_credentials_release(credentials)
        for argument in list { free(argument.key) }
        pthread_create(
            &thread,
            nil,
            { client in
                if let client { Unmanaged<GRPCClient>.fromOpaque(client).takeRetainedValue().poll() }
                return nil
            },
            Unmanaged.passRetained(self).toOpaque()
        )
    }

    /// To be called before an operation is started.
    func handOver() {
        handedOver.wrappingAdd(1, ordering: .releasing)
    }

    private func poll() {
        while true {
            let event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), nil)
            if event.type == GRPC_QUEUE_SHUTDOWN { return }
            guard let tag = event.tag else { continue }
            _ = handedOver.load(ordering: .acquiring)
            let low = UInt(bitPattern: tag) & 0b111
            Unmanaged<GRPCClientCall>.fromOpaque(tag - Int(low)).takeRetainedValue()
                .complete(GRPCClientCall.Operation(rawValue: low) ?? .status, success: event.success != 0)
        }
    }

    // MARK: Calls

    /// Starts a call of any kind; the server decides how many messages go which way. A client that was shut down makes
    /// calls that are over already.
    package func call(
        _ method: String,
        metadata: [String: String] = [:],
        timeout: Duration? = nil
    ) -> GRPCClientCall {
        let deadline = timeout.map { timeout in
            gpr_time_add(
                gpr_now(GPR_CLOCK_MONOTONIC),
                gpr_time_from_nanos(
                    timeout.components.seconds * 1_000_000_000 + timeout.components.attoseconds / 1_000_000_000,
                    GPR_TIMESPAN
                )
            )
        }
        let call = GRPCClientCall(
            client: self,
            core: apus_client_call_create(channel, queue, method, deadline ?? gpr_inf_future(GPR_CLOCK_MONOTONIC))
        )
        let isOpen = state.withLock { state in
            if state.isClosed { return false }
            state.calls[ObjectIdentifier(call)] = call
            return true
        }
        call.start(isOpen: isOpen, metadata: metadata)
        return call
    }

    /// One request message, at most one reply message, and the status.
    package func unary(
        _ method: String,
        _ request: [UInt8],
        metadata: [String: String] = [:],
        timeout: Duration? = nil
    ) async -> (reply: [UInt8]?, status: GRPCCallStatus) {
        let call = call(method, metadata: metadata, timeout: timeout)
        await call.send(request)
        await call.halfClose()
        let reply = await call.receive()
        return (reply, await call.status())
    }

    func forget(_ call: GRPCClientCall) {
        let mayShutDown = state.withLock { state in
            state.calls[ObjectIdentifier(call)] = nil
            return Self.isLast(&state)
        }
        if mayShutDown { grpc_completion_queue_shutdown(queue) }
    }

    private static func isLast(_ state: inout State) -> Bool {
        guard state.isClosed, state.calls.isEmpty, !state.isQueueShutDown else { return false }
        state.isQueueShutDown = true
        return true
    }

    /// Cancels every call, closes the connection and joins the thread. To be called once.
    package func shutdown() {
        let (calls, mayShutDown) = state.withLock { state in
            state.isClosed = true
            return (Array(state.calls.values), Self.isLast(&state))
        }
        for call in calls { call.cancel() }
        if mayShutDown { grpc_completion_queue_shutdown(queue) }
        pthread_join(thread, nil)
        grpc_completion_queue_destroy(queue)
        grpc_channel_destroy(channel)
        grpc_shutdown_blocking()
    }
}

/// How a call ended, as the client saw it.
package struct GRPCCallStatus: Sendable, Equatable, CustomStringConvertible {
    /// gRPC's number, e.g. 8 for RESOURCE_EXHAUSTED.
    package let code: Int
    package let message: String

    package init(code: Int, message: String = "") {
        self.code = code
        self.message = message
    }

    package var description: String { "\(code) \(message)" }
}

/// Runs `body` with a client of its own and shuts it down on every way out.
package func withGRPCClient<R>(
    host: String = "127.0.0.1",
    port: Int,
    tls: GRPCClient.TLS? = nil,
    arguments: [String: Int] = [:],
    _ body: (GRPCClient) async throws -> sending R
) async rethrows -> sending R {
    let client = GRPCClient(host: host, port: port, tls: tls, arguments: arguments)
    defer { client.shutdown() }
    return try await body(client)
}
