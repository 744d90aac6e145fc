import Bytes
import CGRPC
import Synchronization

/// A gRPC server over core: listens, hands every call to the handler of its method, and shuts down in order.
///
/// `shutdown` must be called before the last reference goes; until then the server keeps itself alive.
///
/// Core of this version queues calls that nobody asked for without a bound. Here that queue stays empty: a poller asks
/// for `requestsPerPoller` calls in advance and for one more with each arrival, and streams over the cap are answered,
/// not left waiting.
package final class Server: @unchecked Sendable {
    // Sendable: `core` is safe to call from any thread; the rest is constant, atomic or behind `state`'s lock.

    private struct State: ~Copyable {
        enum Phase { case running, draining, stopped, destroyed }

        var phase = Phase.running
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    let core: OpaquePointer
    private let routes: [(path: [UInt8], handler: Handler)]
    private let maxConcurrentStreams: Int
    private let pollers: Pollers
    private let ownsPollers: Bool
    /// Core asks them for certificates as long as its server lives.
    private let credentials: ServerConfiguration.Credentials
    private let streams = Atomic<Int>(0)
    /// Whose events have still to come: the server's own shutdown, and every call from its request to its release.
    private let users = Atomic<Int>(1)
    private let state = Lock(State())

    /// The port that was really bound.
    package let port: Int

    /// Calls that have arrived and are not released yet, refused ones included.
    package var activeStreams: Int {
        streams.load(ordering: .relaxed)
    }

    // MARK: Start

    /// Binds and starts to serve. `services` maps a full method path to its handler; other methods are UNIMPLEMENTED.
    ///
    /// Without `pollers` the server starts `configuration.pollers` of its own and ends them with its shutdown; where one
    /// process has several servers they should share theirs (see `Pollers`).
    ///
    /// Throws `unavailable`, naming address and port, when they cannot be bound.
    package init(
        configuration: ServerConfiguration,
        services: [String: Handler],
        pollers shared: Pollers? = nil
    ) throws(RPCError) {
        grpc_init()
        routes = services.map { (path: Array($0.key.utf8), handler: $0.value) }
        maxConcurrentStreams = configuration.maxConcurrentStreams
        ownsPollers = shared == nil
        credentials = configuration.credentials
        do throws(RPCError) {
            pollers = if let shared { shared } else { try Pollers(count: configuration.pollers) }
            guard pollers.addServer() else {
                throw RPCError(code: .failedPrecondition, message: "the pollers are shutting down")
            }
        } catch {
            grpc_shutdown_blocking()
            throw error
        }

        var arguments = ChannelArguments(configuration)
        core = arguments.withUnsafePointer { grpc_server_create($0, nil) }
        for poller in pollers.all {
            grpc_server_register_completion_queue(core, poller.queue, nil)
        }
        let credentials = configuration.credentials.makeCore()
        port = Int(grpc_server_add_http2_port(core, configuration.hostPort, credentials))
        grpc_server_credentials_release(credentials)

        guard port != 0 else {
            grpc_server_destroy(core)
            pollers.removeServer()
            if ownsPollers { pollers.shutdownUnused() }
            grpc_shutdown_blocking()
            throw RPCError(
                code: .unavailable,
                message: "cannot listen on \(configuration.hostPort): is the port in use?"
            )
        }
        grpc_server_start(core)
        for poller in pollers.all {
            for _ in 0..<max(1, configuration.requestsPerPoller) {
                requestCall(on: poller)
            }
        }
    }

    // MARK: Calls

    /// Asks core for one more call, unless the server is shutting down.
    func requestCall(on poller: Poller) {
        guard state.withLock({ $0.phase == .running }) else { return }
        ServerCall(server: self, poller: poller).request()
    }

    /// Linear: a server has a handful of methods, and no `String` is made for the lookup.
    func handler(for path: UnsafeRawBufferPointer) -> Handler? {
        for route in routes where route.path.count == path.count && route.path.elementsEqual(path) {
            return route.handler
        }
        return nil
    }

    /// Counts a stream; false when it is one too many (it is counted all the same, until its release).
    func countStream() -> Bool {
        streams.wrappingAdd(1, ordering: .relaxed).newValue <= maxConcurrentStreams
    }

    func uncountStream() {
        streams.wrappingSubtract(1, ordering: .relaxed)
    }

    // MARK: Users

    /// One more event will come. Only whoever has one coming already, or `init`, may call this.
    func retainCore() {
        users.wrappingAdd(1, ordering: .relaxed)
    }

    /// An event has come, and its receiver will use core's server no more.
    func releaseCore() {
        guard users.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        let waiters: [UnsafeContinuation<Void, Never>] = state.withLock { state in
            state.phase = .stopped
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Shutdown

    /// Stops accepting, lets streams finish for `grace`, then cancels them and closes every connection. When it returns,
    /// everything of core's is destroyed, and the server's own pollers have ended.
    ///
    /// May be called more than once and concurrently: the shortest grace wins, and every caller returns at the end. Must
    /// not be called by a handler of this server, for it waits for all of them.
    package func shutdown(grace: Duration) async {
        beginDraining()
        let deadline = Task.detached {
            try? await Task.sleep(for: grace)
            if !Task.isCancelled { self.cancelAllCalls() }
        }
        await untilStopped()
        deadline.cancel()
        await deadline.value
        destroy()
        if ownsPollers { await pollers.shutdown() }
    }

    private func beginDraining() {
        let isFirst = state.withLock { state in
            guard state.phase == .running else { return false }
            state.phase = .draining
            return true
        }
        guard isFirst, let poller = pollers.all.first else { return }
        // Calls that were asked for and have not come return as failed; streams that run go on; when they and the
        // connections are gone, core posts this tag. Until then the pollers must poll: it is they who do core's reading.
        grpc_server_shutdown_and_notify(
            core,
            poller.queue,
            Tag.make(Unmanaged.passUnretained(self).toOpaque(), .shutdown)
        )
    }

    /// Core's last word.
    func coreHasShutDown() {
        releaseCore()
    }

    private func cancelAllCalls() {
        state.withLock { state in
            if state.phase == .draining { grpc_server_cancel_all_calls(core) }
        }
    }

    private func untilStopped() async {
        await withUnsafeContinuation { continuation in
            let isStopped = state.withLock { state in
                if state.phase == .stopped || state.phase == .destroyed { return true }
                state.waiters.append(continuation)
                return false
            }
            if isStopped { continuation.resume() }
        }
    }

    /// Under the lock, so that no caller of `shutdown` returns before it is done.
    private func destroy() {
        state.withLock { state in
            guard state.phase == .stopped else { return }
            state.phase = .destroyed
            grpc_server_destroy(core)
            pollers.removeServer()
            grpc_shutdown_blocking()
        }
    }
}

extension ServerConfiguration.Credentials {
    /// Credentials of core's that the caller releases.
    fileprivate func makeCore() -> OpaquePointer? {
        switch self {
        case .insecure: grpc_insecure_server_credentials_create()
        case .tls(let credentials): credentials.makeCore()
        }
    }
}
