import Glibc

/// The processes of a measurement: simulated model servers, and pickers before them. They end with the object.
///
/// Must be used on the main thread, as `ChildProcess` must.
final class Fleet {
    private let run: BenchRun
    private let simulation: ChildProcess
    /// Of the model servers, `HOST:PORT` with commas.
    let endpoints: String
    private(set) var processes: [ChildProcess] = []
    private var configurations: [TemporaryFile] = []

    var simulatorPID: pid_t { simulation.pid }

    /// Starts `count` model servers.
    init(_ run: BenchRun, count: Int, simulatorArguments: [String] = []) throws {
        self.run = run
        simulation = try ChildProcess(
            run.simulator,
            ["--count", "\(count)", "--port", "0", "--model", Frames.model] + simulatorArguments
        )
        endpoints = try simulation.wait(for: "listening ", count: count).joined(separator: ",")
    }

    /// Starts apus before the model servers, and waits until it listens and has had time to scrape them all.
    ///
    /// - Parameter configuration: the configuration file's lines behind its `kind`; no file when nil.
    func startApus(_ configuration: String? = nil, arguments: [String] = []) throws -> (
        process: ChildProcess, address: String
    ) {
        var words = [
            "--endpoints", endpoints, "--secure-serving=false", "--bind-address", "127.0.0.1", "--grpc-port", "0",
            "--metrics-port", "0", "--grpc-health-port", "0", "--io-threads", "1",
        ]
        if let configuration {
            let file = try TemporaryFile(
                "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n" + configuration + "\n"
            )
            configurations.append(file)
            words += ["--config-file", file.path]
        }
        let process = try ChildProcess(run.apus, words + arguments)
        processes.append(process)
        let address = try process.wait(for: "ext_proc listening on ")[0]
        usleep(500_000)
        return (process, address)
    }

    /// Starts the server that answers with constants and as many bytes as came.
    func startBare() throws -> (process: ChildProcess, address: String) {
        let process = try ChildProcess(
            sibling("apus-bench"),
            ["bare-server", "--io-threads", "1", "--destinations", "127.0.0.1:8000"]
        )
        processes.append(process)
        return (process, try process.wait(for: "ext_proc listening on ")[0])
    }
}

/// A file with a text, gone with the object.
final class TemporaryFile {
    let path: String

    init(_ text: String) throws {
        var template = Array("/tmp/apus-bench-XXXXXX".utf8CString)
        let descriptor = template.withUnsafeMutableBufferPointer { $0.baseAddress.map { mkstemp($0) } ?? -1 }
        guard descriptor >= 0 else { throw BenchError("cannot make a temporary file") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        write(text, to: descriptor)
        close(descriptor)
    }

    deinit {
        unlink(path)
    }
}
