internal import Configuration
internal import EndpointPicker
internal import Glibc
internal import Telemetry

/// The picker's program: serves, checks a configuration, or tells its version.
@main
enum Main {
    static let version = "0.1.0"

    static func main() async {
        var arguments = CommandLine.arguments.dropFirst()
        // A bare `apus FLAGS` is `apus serve FLAGS`: the arguments are those of the picker that it replaces.
        let command = arguments.first.map { $0.hasPrefix("-") } ?? true ? "serve" : arguments.popFirst() ?? ""
        switch command {
        case "serve":
            if arguments.contains("--help") || arguments.contains("-h") { help() }
            await serve(Array(arguments))
        case "check":
            check(Array(arguments))
        case "version":
            print("apus \(version)")
        case "help":
            help()
        default:
            let hint = ClosestName.hint(for: command, among: ["serve", "check", "version", "help"])
            fail("unknown command \"\(command)\"\(hint)", status: 2)
        }
    }

    private static func serve(_ arguments: [String]) async {
        let options: ServeOptions
        do {
            options = try ServeOptions(parsing: arguments)
        } catch {
            fail("\(error)", status: 2)
        }
        let signals = EndingSignals.receive()
        Descriptors.raiseLimit()
        Heap.share(pollers: options.ioThreads)
        Heap.keepEnds()
        do {
            let service = try Service(options)
            await service.run(until: signals)
        } catch {
            fail(error.description, status: 1)
        }
    }

    private static func check(_ arguments: [String]) {
        guard arguments.count == 1, let path = arguments.first else { fail("usage: apus check FILE", status: 2) }
        let diagnostics = ConfigurationLoader.check(path)
        for diagnostic in diagnostics { print(diagnostic) }
        if diagnostics.contains(where: { $0.severity == .error }) { exit(1) }
        if diagnostics.isEmpty { print("\(path): ok") }
    }

    private static func help() -> Never {
        print(
            """
            apus: an endpoint picker for LLM inference (Envoy external processing)

            apus [serve] FLAGS   serve
            apus check FILE      check a configuration and print what is wrong with it
            apus version         print the version

            Flags of serve (--name=value or --name value):
            \(Flag.usage)
            """
        )
        exit(0)
    }

    private static func fail(_ message: String, status: Int32) -> Never {
        Logger.writeToStandardError(Array("apus: \(message)\n".utf8))
        exit(status)
    }
}
