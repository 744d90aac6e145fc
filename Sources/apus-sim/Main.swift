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
        // Threads that are started from now on inherit this: the signals wait for the end of this function.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        do throws(SimulatedFleet.Failure) {
            let fleet = try SimulatedFleet(options) { _ in _exit(1) }
            let hosts = fleet.addresses.map { $0.contains(":") ? "[\($0)]" : $0 }
            for (host, port) in zip(hosts, fleet.ports) { say("listening \(host):\(port)\n", to: 1) }
            if options.disaggregation.bootstrapPort != nil {
                for (host, port) in zip(hosts, fleet.bootstrapPorts) { say("bootstrap \(host):\(port)\n", to: 1) }
            }
            if let port = fleet.controlPort { say("control \(hosts[0]):\(port)\n", to: 1) }
            say("ready\n", to: 1)
            var signal: Int32 = 0
            sigwait(&signals, &signal)
            // The system closes what is open, faster than anybody could wait for it.
            _exit(0)
        } catch {
            fail(error.description)
        }
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
    func seed() -> UInt64 {
        var generator = self
        return generator.next()
    }
}
