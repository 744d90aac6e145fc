import Glibc

/// Load and reports: what Apus costs, next to the least that a server on the same transport can cost.
@main
enum Main {
    private static let help = """
        usage: apus-bench COMMAND [OPTIONS]

          floor         CPU per request of apus and of a bare server under the same load, in turn
          idle          cores and memory that a process uses while nothing is asked of it
          decisions     CPU and memory of decisions alone: scheduling, the prefix index, flow control
          bare-server   the server that `floor` compares with: the same frames, constants, no thought

        `apus-bench COMMAND --help` shows the command's options.

        """

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        var words = Array(CommandLine.arguments.dropFirst())
        guard let command = words.first else { fail("no command\n\n" + help, code: 64) }
        words.removeFirst()
        do {
            switch command {
            case "floor": try FloorCommand.run(words)
            case "idle": try IdleCommand.run(words)
            case "decisions": try DecisionsCommand.run(words)
            case "quality": try QualityCommand.run(words)
            case "bare-server": try BareServerCommand.run(words)
            case "--help", "-h", "help": write(help, to: 1)
            default: fail("unknown command \(command)\n\n" + help, code: 64)
            }
        } catch {
            fail("\(error)", code: 1)
        }
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
