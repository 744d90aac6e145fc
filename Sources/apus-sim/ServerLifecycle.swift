import Bytes
import EngineSimulation
import Glibc
import HTTPServer

/// What the servers of a process know of each other.
final class FleetLinks: Sendable {
    private struct Entry: Sendable {
        weak var server: SimulatedServer?
    }

    private let servers = Lock<[Entry]>([])
    private let onExit: @Sendable (SimulatedServer) -> Void

    /// - Parameter onExit: ends the process, or what stands for one.
    init(onExit: @escaping @Sendable (SimulatedServer) -> Void) {
        self.onExit = onExit
    }

    func add(_ server: SimulatedServer) {
        servers.withLock { $0.append(Entry(server: server)) }
        server.lifecycle.isOf(server)
    }

    func server(_ number: Int) -> SimulatedServer? {
        servers.withLock { $0.indices.contains(number) ? $0[number].server : nil }
    }

    func exit(_ server: SimulatedServer) {
        onExit(server)
    }
}

/// Opens and closes a server's ports. A port that is closed stays held: it refuses connections, and nobody else gets it.
final class ServerLifecycle: Sendable {
    private struct State: Sendable {
        weak var server: SimulatedServer?
        var listeners: [HTTPServer] = []
        var held: [PortHold] = []
        var port: Int?
        var bootstrapPort: Int?
        /// Nothing starts again.
        var isEnded = false
    }

    let fleet: FleetLinks
    private let state = Lock(State())

    init(_ fleet: FleetLinks) {
        self.fleet = fleet
    }

    func isOf(_ server: SimulatedServer) {
        state.withLock { $0.server = server }
    }

    var bootstrapPort: Int? { state.withLock { $0.bootstrapPort } }

    /// Listens, on the ports of the last time when there was one.
    func open(_ server: SimulatedServer) throws(HTTPServerError) {
        try state.withLock { state throws(HTTPServerError) in
            guard state.listeners.isEmpty, !state.isEnded else { return }
            let options = server.options
            let first = options.port == 0 ? 0 : options.port + server.index
            let main = try listen(server, state.port ?? first, options)
            var listeners = [main]
            var address = SideChannel.Address(host: options.address, port: main.port)
            if let first = options.disaggregation.bootstrapPort {
                let wanted = state.bootstrapPort ?? (first == 0 ? 0 : first + server.index)
                let bootstrap = try listen(server, wanted, options)
                listeners.append(bootstrap)
                state.bootstrapPort = bootstrap.port
                address = SideChannel.Address(host: options.address, port: bootstrap.port)
            }
            if state.held.isEmpty {
                state.held = listeners.compactMap { PortHold(address: options.address, port: $0.port) }
            }
            state.port = main.port
            state.listeners = listeners
            server.state.withLock { [address] state in
                state.port = main.port
                state.address = address
                state.isDown = false
            }
            SideChannel.add(server, address)
        }
    }

    private func listen(_ server: SimulatedServer, _ port: Int, _ options: Options) throws(HTTPServerError)
        -> HTTPServer
    {
        try HTTPServer(
            bindAddress: options.address,
            port: port,
            maxRequestBodyBytes: options.maxRequestBodyMegabytes << 20,
            idleTimeoutSeconds: 0,
            handler: { server.handle($0) }
        )
    }

    /// Dies: connections are cut, ports refuse, the engine's state is gone. Not on a thread of this server's listeners.
    func stop(_ server: SimulatedServer) {
        server.forget(isDown: true)
        close(server)
    }

    private func close(_ server: SimulatedServer) {
        let listeners = state.withLock { state in
            defer { state.listeners = [] }
            return state.listeners
        }
        guard !listeners.isEmpty else { return }
        SideChannel.remove(server.state.withLock { $0.address })
        for listener in listeners { listener.stop() }
        server.update { server.count(.stopped, &$0) }
    }

    /// For good.
    func end(_ server: SimulatedServer) {
        state.withLock { $0.isEnded = true }
        close(server)
    }

    /// Listens again; a port that somebody else has taken stays closed.
    func start(_ server: SimulatedServer) {
        guard (try? open(server)) != nil else { return }
        server.update { server.count(.started, &$0) }
    }

    func start(_ server: SimulatedServer, after wait: Duration) {
        Threads.run {
            wait.sleepOnThread()
            self.start(server)
        }
    }

    /// Dies from within, on a thread of its own.
    func crash(down: Duration?) {
        guard let server = state.withLock({ $0.server }) else { return }
        server.forget(isDown: true)
        Threads.run {
            self.stop(server)
            if let down { self.start(server, after: down) }
        }
    }

    func exit() {
        guard let server = state.withLock({ $0.server }) else { return }
        fleet.exit(server)
    }
}

/// A socket that is bound and does not listen.
private final class PortHold: Sendable {
    private let descriptor: Int32

    init?(address: String, port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = UInt16(clamping: port).bigEndian
        inet_pton(AF_INET, address, &name.sin_addr)
        _ = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    deinit {
        close(descriptor)
    }
}

extension SimulatedServer {
    /// The engine starts anew: open requests are cut, KV is gone, the engine has a new id.
    func restart() {
        forget(isDown: false)
        update { count(.restart, &$0) }
    }

    /// Cuts what is open and forgets what the engine knew.
    func forget(isDown: Bool) {
        let cut: [ActiveRequest] = update { state in
            state.isDown = isDown
            let active = Array(state.active.values)
            for request in active {
                state.deadlines.cancel(request.deadline)
                state.deadlines.cancel(request.source?.heartbeat)
                state.log.change(request.number) { entry in
                    entry.status = "lost"
                    entry.ended = WallClock.seconds
                }
            }
            for finished in state.finished.values { state.deadlines.cancel(finished.deadline) }
            state.active = [:]
            state.numbers = [:]
            state.finished = [:]
            state.meetings = Rendezvous()
            state.embeddings = []
            var configuration = options.engine
            configuration.seed &+= UInt64(index)
            configuration.latency = state.live.latency
            state.engine = Engine(configuration)
            state.ledger = KVLedger(engineID: Self.newEngineID())
            state.page = nil
            schedule(&state)
            return active
        }
        for request in cut {
            switch request.sink {
            case .whole(let reply): reply.drop()
            case .stream(let stream): stream.abort()
            }
        }
    }
}

extension Duration {
    /// Blocks the thread.
    func sleepOnThread() {
        var time = timespec(tv_sec: Int(components.seconds), tv_nsec: Int(nanoseconds % 1_000_000_000))
        nanosleep(&time, nil)
    }
}
