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

    var port: Int? { state.withLock { $0.port } }
    var bootstrapPort: Int? { state.withLock { $0.bootstrapPort } }

    /// Listens, on the ports of the last time when there was one.
    func open(_ server: SimulatedServer) throws(HTTPServerError) {
        try state.withLock { state throws(HTTPServerError) in
            guard state.listeners.isEmpty, !state.isEnded else { return }
            let options = server.options
            let host = options.address(of: server.index)
            let first = options.hasAddressPerServer && server.index > 0 ? fleet.server(0)?.lifecycle : nil
            let step = options.hasAddressPerServer ? 0 : server.index
            let chosen = first?.port ?? (options.port == 0 ? 0 : options.port + step)
            let main = try listen(server, hold(state.port ?? chosen, host, &state), options)
            var listeners = [main]
            var address = SideChannel.Address(host: host, port: main.port)
            if let port = options.disaggregation.bootstrapPort {
                let chosen = first?.bootstrapPort ?? (port == 0 ? 0 : port + step)
                let wanted = state.bootstrapPort ?? chosen
                let bootstrap = try listen(server, hold(wanted, host, &state), options)
                listeners.append(bootstrap)
                state.bootstrapPort = bootstrap.port
                address = SideChannel.Address(host: host, port: bootstrap.port)
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

    /// Sees to it that nobody else gets the port.
    ///
    /// - Returns: the port, also when it was 0.
    private func hold(_ port: Int, _ host: String, _ state: inout State) -> Int {
        if port != 0, state.held.contains(where: { $0.port == port }) { return port }
        guard let hold = PortHold(address: host, port: port) else { return port }
        state.held.append(hold)
        return hold.port
    }

    private func listen(_ server: SimulatedServer, _ port: Int, _ options: Options) throws(HTTPServerError)
        -> HTTPServer
    {
        try HTTPServer(
            bindAddress: options.address(of: server.index),
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

/// A socket that is bound and does not listen. It must be bound before others listen on the port.
private final class PortHold: Sendable {
    let port: Int
    private let descriptor: Int32

    init?(address: String, port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = UInt16(clamping: port).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound =
            inet_pton(AF_INET, address, &name.sin_addr) == 1
            && withUnsafeMutablePointer(to: &name) { [descriptor] pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
                }
            }
        self.port = Int(UInt16(bigEndian: name.sin_port))
        guard isBound else {
            close(descriptor)
            return nil
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
            state.given = [:]
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
