import Glibc

/// An apus that is measured: plain text on free ports of 127.0.0.1, one poller. Ends with the object.
final class ApusProcess {
    private let process: ChildProcess
    private let configuration: TemporaryFile?
    /// Where ext_proc is served.
    let address: String
    private let metricsPort: Int

    var pid: pid_t { process.pid }

    /// Starts it and waits until it listens. Must be called on the main thread, as `ChildProcess` must.
    ///
    /// - Parameter configuration: the configuration file's lines behind its `kind`; no file when nil.
    init(_ run: BenchRun, _ arguments: [String], configuration: String? = nil) throws {
        var words = [
            "--secure-serving=false", "--bind-address", "127.0.0.1", "--grpc-port", "0", "--metrics-port", "0",
            "--grpc-health-port", "0", "--io-threads", "1",
        ]
        self.configuration = try configuration.map {
            try TemporaryFile("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n" + $0 + "\n")
        }
        if let file = self.configuration { words += ["--config-file", file.path] }
        process = try ChildProcess(run.apus, words + arguments)
        address = try process.wait(for: "ext_proc listening on ")[0]
        let metrics = try process.wait(for: "metrics listening on ")[0]
        guard let port = metrics.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw BenchError("apus shows its metrics at \(metrics)")
        }
        metricsPort = port
    }

    /// The sum of one of its metrics' samples whose labels contain `label`.
    func metric(_ name: String, label: String = "") throws -> Double {
        PlainGet.sum(of: name, label: label, in: try PlainGet.body(port: metricsPort, path: "/metrics"))
    }

    /// How many scrapes it has made.
    func scrapes() throws -> (ok: Double, failed: Double) {
        let page = try PlainGet.body(port: metricsPort, path: "/metrics")
        let ok = PlainGet.sum(of: "apus_scrape_total", label: #"outcome="ok""#, in: page)
        return (ok, PlainGet.sum(of: "apus_scrape_total", in: page) - ok)
    }
}
