import Glibc

/// `apus-bench floor`: the same load on a bare server and on apus, in turn.
enum FloorCommand {
    private static let help = """
        usage: apus-bench floor [OPTIONS]

          --only bare|apus        measure one server only
          --requests 20000        requests per round and server
          --concurrency 32        streams in flight
          --connections 1         HTTP/2 connections
          --rounds 5              rounds; the servers take turns in each
          --warm-up 2000          requests before the first round
          --body-bytes 2048       size of the request's JSON body
          --io-threads 1          pollers of each server
          --apus PATH             the program to measure; default: beside this one
          --apus-argument ARG     one more argument for it; may be repeated
          --sim PATH              the model servers' program; default: apus-sim beside this one
          --sim-argument ARG      one more argument for it; may be repeated
          --endpoints A,B,...     model servers that run already, instead of --sim
          --endpoint-count 10     model servers that --sim simulates
          --short                 a few requests, to see that it works
          --json                  JSON instead of the text
          --html FILE             also write a page

        A request is 15 headers, the body in frames of 64 KiB and end_of_stream in an empty second one, as Envoy sends it; after
        the replies come response headers and a JSON body with usage; after those replies half-close and status.

        """

    struct Options {
        var only: String?
        var requests = 20_000
        var concurrency = 32
        var connections = 1
        var rounds: Int
        var warmUp = 2000
        var bodyBytes = 2048
        var ioThreads = 1
        var apus: String
        var apusArguments: [String] = []
        var sim: String
        var simArguments: [String] = []
        var endpoints: String?
        var endpointCount = 10

        /// The default ones, made small in a short run.
        init(_ run: BenchRun) {
            requests = run.scaled(requests, short: 300)
            warmUp = run.scaled(warmUp, short: 20)
            rounds = run.rounds()
            apus = run.apus
            sim = run.simulator
        }

        /// Those that are given, the default ones otherwise.
        init(_ arguments: inout Arguments, _ run: BenchRun) throws {
            self.init(run)
            only = arguments.string("only")
            guard only == nil || only == "bare" || only == "apus" else { throw BenchError("--only is bare or apus") }
            requests = try arguments.integer("requests", default: requests)
            concurrency = try arguments.integer("concurrency", default: concurrency, in: 1...100_000)
            connections = try arguments.integer("connections", default: connections, in: 1...1000)
            warmUp = try arguments.integer("warm-up", default: warmUp, in: 0...1_000_000)
            bodyBytes = try arguments.integer("body-bytes", default: bodyBytes, in: 128...3_000_000)
            ioThreads = try arguments.integer("io-threads", default: ioThreads, in: 1...256)
            apusArguments = arguments.strings("apus-argument")
            simArguments = arguments.strings("sim-argument")
            endpoints = arguments.string("endpoints")
            endpointCount = try arguments.integer("endpoint-count", default: endpointCount, in: 1...10_000)
        }
    }

    static func run(_ words: [String]) throws {
        if words.contains("--help") { return write(help, to: 1) }
        var arguments = try Arguments(words, flags: ["json", "short"])
        let asJSON = arguments.flag("json")
        let output = try ReportOutput(&arguments)
        let options = try Options(&arguments, output.run)
        try arguments.finish()
        let start = RunStart()
        let section = try section(options, output.run)
        try output.deliver(Report([section], run: output.run, start: start), asJSON: asJSON)
    }

    /// The section of a report.
    static func section(_ run: BenchRun) throws -> Section {
        try section(Options(run), run)
    }

    private static func section(_ options: Options, _ run: BenchRun) throws -> Section {
        let withBare = options.only != "apus"
        let withApus = options.only != "bare"

        // The objects' ends stop the processes, on every way out of this function (`keep`: not sooner).
        let bare =
            withBare
            ? try ChildProcess(
                sibling("apus-bench"),
                ["bare-server", "--io-threads", "\(options.ioThreads)", "--body-bytes", "\(options.bodyBytes)"]
            ) : nil
        defer { keep(bare) }
        let simulation =
            withApus && options.endpoints == nil
            ? try ChildProcess(
                options.sim,
                ["--count", "\(options.endpointCount)", "--port", "0", "--model", Frames.model] + options.simArguments
            ) : nil
        defer { keep(simulation) }
        let endpoints =
            try options.endpoints
            ?? simulation?.wait(for: "listening ", count: options.endpointCount).joined(separator: ",")
        let apus =
            withApus
            ? try ChildProcess(
                options.apus,
                [
                    "--endpoints", endpoints ?? "", "--secure-serving=false", "--bind-address", "127.0.0.1",
                    "--grpc-port", "0", "--metrics-port", "0", "--grpc-health-port", "0",
                    "--io-threads", "\(options.ioThreads)",
                ] + options.apusArguments
            ) : nil

        defer { keep(apus) }

        var contenders: [Contender] = []
        if let bare {
            contenders.append(try contender("bare", bare, options))
        }
        if let apus {
            contenders.append(try contender("apus", apus, options))
            // The first scrapes, so that every endpoint is known.
            usleep(500_000)
        }
        for contender in contenders where options.warmUp > 0 {
            contender.warmUp(requests: options.warmUp, concurrency: options.concurrency)
        }
        for round in 1...options.rounds {
            for contender in contenders.inTurn(ofRound: round - 1) {
                try contender.measure(requests: options.requests, concurrency: options.concurrency)
                run.progress("round \(round): \(contender.lastRound)")
            }
        }
        return FloorSection.make(contenders, options)
    }

    private static func contender(_ name: String, _ process: ChildProcess, _ options: Options) throws -> Contender {
        let client = LoadClient(
            target: try process.wait(for: "ext_proc listening on ")[0],
            connections: options.connections,
            shape: LoadShape(bodyBytes: options.bodyBytes)
        )
        return Contender(name, process.pid, client)
    }
}

/// A use: the process lives at least until here. For `defer`, since the optimizer may end an object after its last use.
func keep(_ process: ChildProcess?) {}
