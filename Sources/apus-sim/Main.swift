internal import Bytes
import EngineSimulation
import Glibc
import HTTPServer
import Synchronization

/// Simulated model servers for demonstrations, tests and benchmarks.
@main
enum Main {
    static func main() {
        let options = readOptions()
        raiseFileLimit()
        let timekeeper = Timekeeper(engines: options.count)
        let started = WallClock.seconds
        let servers = (0..<options.count).map {
            SimulatedServer(options: options, index: $0, timekeeper: timekeeper, started: started)
        }
        var listeners: [HTTPServer] = []
        for server in servers {
            do throws(HTTPServerError) {
                let listener = try HTTPServer(
                    bindAddress: options.address,
                    port: options.port == 0 ? 0 : options.port + server.index,
                    maxRequestBodyBytes: options.maxRequestBodyMegabytes << 20,
                    idleTimeoutSeconds: 0,
                    handler: { server.handle($0) }
                )
                server.state.withLock { $0.port = listener.port }
                listeners.append(listener)
                let host = options.address.contains(":") ? "[\(options.address)]" : options.address
                say("listening \(host):\(listener.port)\n", to: 1)
            } catch {
                fail(error.description)
            }
        }
        say("ready\n", to: 1)
        timekeeper.run { servers[$0].advance() }
        // The system closes what is open, faster than anybody could wait for it.
        exit(0)
    }

    private static func readOptions() -> Options {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.contains("--help") || arguments.contains("-h") {
            say(CommandLineReader.help, to: 1)
            exit(0)
        }
        var options = Options()
        options.engine.seed = SystemRandomNumberGenerator().seed()
        if let name = getenv("POD_NAME") { options.podName = String(cString: name) }
        if let namespace = getenv("POD_NAMESPACE") { options.podNamespace = String(cString: namespace) }
        do throws(OptionError) {
            try CommandLineReader.read(arguments, into: &options)
            try options.validate()
        } catch {
            fail(error.message)
        }
        return options
    }

    private static func fail(_ message: String) -> Never {
        say("apus-sim: \(message)\n", to: 2)
        exit(2)
    }

    /// Writes at once: whoever starts servers waits for the lines.
    private static func say(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { _ = write(descriptor, $0.baseAddress, $0.count) }
    }

    /// Many servers with many connections need many descriptors.
    private static func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// Unix time, for what clients and pages are told; the engines' time is the monotonic clock.
enum WallClock {
    static var seconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

extension SystemRandomNumberGenerator {
    fileprivate func seed() -> UInt64 {
        var generator = self
        return generator.next()
    }
}
