import Glibc

/// Simulated model servers, and pickers before them. The model servers end with the object.
///
/// Must be used on the main thread, as `ChildProcess` must.
final class Fleet {
    private let run: BenchRun
    private let simulation: ChildProcess
    /// Of the model servers, `HOST:PORT` with commas.
    let endpoints: String

    /// Starts `count` model servers.
    init(_ run: BenchRun, count: Int, simulatorArguments: [String] = []) throws {
        self.run = run
        simulation = try ChildProcess(
            run.simulator,
            ["--count", "\(count)", "--port", "0", "--model", Frames.model] + simulatorArguments
        )
        endpoints = try simulation.wait(for: "listening ", count: count).joined(separator: ",")
    }

    /// Starts apus before the model servers, with time to scrape them all.
    func startApus(_ configuration: String? = nil, arguments: [String] = []) throws -> ApusProcess {
        let process = try ApusProcess(run, ["--endpoints", endpoints] + arguments, configuration: configuration)
        usleep(500_000)
        return process
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
