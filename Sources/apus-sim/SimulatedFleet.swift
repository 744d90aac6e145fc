import Bytes
import EngineSimulation
import Glibc
import HTTPServer

/// Simulated model servers that run in this process: all of `apus-sim`, for tests that want no process.
package final class SimulatedFleet: Sendable {
    /// Of the servers, in their order.
    package let ports: [Int]
    /// The same; all equal without `--address-per-server`.
    package let addresses: [String]
    /// Of the listeners for bootstrap and KV transfer; the servers' own without `--bootstrap-port`.
    package let bootstrapPorts: [Int]
    /// A listener for `/sim` and `/admin` that no fault reaches; nil without `--control-port`.
    package let controlPort: Int?
    let servers: [SimulatedServer]
    private let timekeeper: Timekeeper
    private let control: HTTPServer?

    /// Flags that cannot be used, or a port that cannot be had.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Starts servers as the command line `apus-sim` would, on free ports unless `--port` is among the flags, and with a control port.
    package convenience init(_ arguments: [String]) throws(Failure) {
        var options = Options()
        options.engine.seed = SystemRandomNumberGenerator().seed()
        options.port = 0
        options.controlPort = 0
        do throws(OptionError) {
            try CommandLineReader.read(arguments, into: &options)
            try options.validate()
        } catch {
            throw Failure(description: error.message)
        }
        try self.init(options) { server in server.lifecycle.crash(down: nil) }
    }

    init(_ options: Options, onExit: @escaping @Sendable (SimulatedServer) -> Void) throws(Failure) {
        let timekeeper = Timekeeper(engines: options.count)
        let started = WallClock.seconds
        let storage = SharedStorage(path: options.disaggregation.sharedStoragePath)
        let links = FleetLinks(onExit: onExit)
        var servers: [SimulatedServer] = []
        for index in 0..<options.count {
            let server = SimulatedServer(
                options: options,
                index: index,
                timekeeper: timekeeper,
                storage: storage,
                started: started,
                fleet: links
            )
            links.add(server)
            servers.append(server)
        }
        self.timekeeper = timekeeper
        self.servers = servers
        do throws(HTTPServerError) {
            for server in servers { try server.lifecycle.open(server) }
            if let port = options.controlPort {
                let first = servers[0]
                control = try HTTPServer(
                    bindAddress: options.address,
                    port: port,
                    maxRequestBodyBytes: 1 << 20,
                    idleTimeoutSeconds: 0,
                    handler: { request in
                        let number = request.parameters["server"].flatMap { Int($0) } ?? 0
                        let reply = links.server(number)?.administer(request, isOwn: false)
                        return reply ?? .response(first.json("{\"detail\":\"Not Found\"}", status: 404))
                    }
                )
            } else {
                control = nil
            }
        } catch {
            for server in servers { server.lifecycle.end(server) }
            throw Failure(description: error.description)
        }
        ports = servers.map { server in server.state.withLock { $0.port } }
        bootstrapPorts = servers.map { server in server.state.withLock { $0.address.port } }
        addresses = servers.indices.map { options.address(of: $0) }
        controlPort = control?.port
        Threads.run { [servers] in timekeeper.run { servers[$0].advance() } }
    }

    deinit {
        stop()
    }

    /// Ends all servers. May be called again.
    package func stop() {
        control?.stop()
        for server in servers { server.lifecycle.end(server) }
        timekeeper.stop()
    }
}
