internal import Bytes
internal import Glibc
internal import SubRequests
internal import Telemetry

/// Sends the spans that wait to an OTLP collector, a batch at a time, on the HTTP client's thread. A batch that cannot be
/// delivered is dropped: traces are told late or not at all rather than kept.
final class TraceExport: Sendable {
    private struct State {
        var isSending = false
        var isStopped = false
        /// Told once, until an export succeeds again.
        var hasFailed = false
    }

    private static let interval = Duration.seconds(1)
    private static let timeout = Duration.seconds(10)

    private let tracer: Tracer
    private let client: HTTPClient
    private let log: Logger
    private let state = Lock(State())

    init(_ tracer: Tracer, client: HTTPClient, log: Logger) {
        self.tracer = tracer
        self.client = client
        self.log = log
    }

    /// The tracer that flags and environment ask for; nil for none.
    static func tracer(_ options: ServeOptions, log: Logger) -> Tracer? {
        let settings = TracingSettings(
            environment: { name in getenv(name).map { String(cString: $0) } },
            version: Main.version
        )
        guard options.tracing, let settings else { return nil }
        guard settings.url.hasPrefix("http://") || settings.url.hasPrefix("https://") else {
            log.error("no traces: they can be exported to http:// and https:// only, not to \(settings.url)")
            return nil
        }
        for warning in settings.warnings { log.warning("\(warning)") }
        log.info("traces are exported", ["url": settings.url, "ratio": settings.sampler.ratio])
        return Tracer(settings)
    }

    func start() {
        client.schedule(at: .now() + Self.interval) { [weak self] in
            guard let self, !state.withLock({ $0.isStopped }) else { return }
            sendNext()
            start()
        }
    }

    /// Sends what still waits, as long as the collector takes it.
    func stop() async {
        state.withLock { $0.isStopped = true }
        while let batch = tracer.takeBatch() {
            var request = self.request(batch.body)
            request.timeout = .seconds(1)
            let status = try? await client.send(request).status
            tracer.exported(batch.count, status.map { 200..<300 ~= $0 } ?? false)
            if status == nil { return }
        }
    }

    /// Starts an export unless one is under way; when it has succeeded, the next.
    private func sendNext() {
        let mayStart = state.withLock { state in
            if state.isSending || state.isStopped { return false }
            state.isSending = true
            return true
        }
        guard mayStart else { return }
        guard let batch = tracer.takeBatch() else {
            return state.withLock { $0.isSending = false }
        }
        client.start(request(batch.body)) { [weak self] result, _ in
            self?.ended(result, batch.count)
        }
    }

    private func ended(_ result: Result<HTTPResponseHead, HTTPClientError>, _ count: Int) {
        let failure: String? =
            switch result {
            case .success(let head) where 200..<300 ~= head.status: nil
            case .success(let head): "status \(head.status)"
            case .failure(let error): error.description
            }
        tracer.exported(count, failure == nil)
        let isNews = state.withLock { state in
            state.isSending = false
            defer { state.hasFailed = failure != nil }
            return failure != nil && !state.hasFailed
        }
        if isNews, let failure { log.warning("traces cannot be exported: \(failure)") }
        if failure == nil { sendNext() }
    }

    private var trust: TLSTrust {
        TLSTrust(
            caFile: tracer.settings.authoritiesFile,
            clientCertificateFile: tracer.settings.clientCertificateFile,
            clientKeyFile: tracer.settings.clientKeyFile
        )
    }

    private func request(_ body: [UInt8]) -> HTTPRequest {
        HTTPRequest(
            method: "POST",
            url: tracer.settings.url,
            headers: [HTTPField("content-type", "application/json")]
                + tracer.settings.headers.map { HTTPField($0.name, $0.value) },
            body: HTTPBody(body),
            timeout: Self.timeout,
            maxResponseBytes: 64 << 10,
            wantsHeaders: false,
            trust: tracer.settings.url.hasPrefix("https://") ? trust : nil
        )
    }
}
