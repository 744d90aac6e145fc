import Glibc

/// Load and reports: what Apus costs, next to the least that a server on the same transport can cost.
@main
enum Main {
    private static var help: String {
        let suites = ReportSuite.all.map { "  \($0.key.padding(to: 12))  \($0.summary)\n" }.joined()
        return """
            usage: apus-bench COMMAND [OPTIONS]

              report        all of the suites below, as text, as JSON and as a page with plots
            \(suites)  idle          cores and memory that a running process uses
              bare-server   the server that `floor` and `envoy` compare with: the same frames, constants, no thought
              upstream      the model servers of `envoy` and `select`: constant answers, no thought

            `apus-bench COMMAND --help` shows the command's options.

            """
    }

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        raiseFileLimit()
        var words = Array(CommandLine.arguments.dropFirst())
        guard let command = words.first else { fail("no command\n\n" + help, code: 64) }
        words.removeFirst()
        do {
            switch command {
            case "report": try ReportCommand.run(words)
            case "floor": try FloorCommand.run(words)
            case "idle": try IdleCommand.run(words)
            case "envoy": try EnvoyCommand.run(words)
            case "quality": try QualityCommand.run(words)
            case "upstream": try UpstreamCommand.run(words)
            case "bare-server": try BareServerCommand.run(words)
            case PrefixBench.memoryCommand: try PrefixBench.reportMemory(words)
            case "--help", "-h", "help": write(help, to: 1)
            default:
                guard let suite = ReportSuite.all.first(where: { $0.key == command }) else {
                    fail("unknown command \(command)\n\n" + help, code: 64)
                }
                try ReportCommand.runAlone(suite, words)
            }
        } catch {
            fail("\(error)", code: 1)
        }
    }

    /// A thousand model servers, or thousands of requests, are more sockets than a shell allows.
    private static func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private static func fail(_ message: String, code: Int32) -> Never {
        write("apus-bench: \(message)\n", to: 2)
        exit(code)
    }
}

/// What a command could not do.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Writes all of `text` to a file descriptor; 1 is standard output.
func write(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }
}
