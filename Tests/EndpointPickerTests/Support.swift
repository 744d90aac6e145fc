import Admission
import Bytes
import Configuration
import EndpointPicker
import Pool
import RPC
import Scheduling
import SubRequests
import Telemetry
import TestSupport
import Testing

/// A model server of the reference's hermetic tests: `pod-<number>` at 192.168.1.<number + 1>:8000 with these metrics.
struct Pod {
    var number: Int
    var queue: Int
    var kvCacheUsage: Double
    var models: [String]
    var labels: [String: String] = [:]
    var rank = 0

    init(_ number: Int, _ queue: Int, _ kvCacheUsage: Double, _ models: String...) {
        self.number = number
        self.queue = queue
        self.kvCacheUsage = kvCacheUsage
        self.models = models
    }

    var description: EndpointDescription {
        EndpointDescription(
            name: "pod-\(number)-rank-\(rank)",
            namespace: "default",
            address: "192.168.1.\(number + 1)",
            port: 8000 + rank,
            labels: labels
        )
    }

    /// Another data-parallel rank of the pod.
    func rank(_ rank: Int) -> Pod {
        var pod = self
        pod.rank = rank
        return pod
    }

    /// The pod with the label that says in which stages it takes part.
    func role(_ role: String) -> Pod {
        var pod = self
        pod.labels["llm-d.ai/role"] = role
        return pod
    }

    var metrics: MetricsUpdate {
        var update = MetricsUpdate()
        update.waitingQueueSize = queue
        update.runningRequests = 0
        update.kvCacheUsage = kvCacheUsage
        update.adapters = .init(active: models, waiting: [], maximum: 0)
        return update
    }
}

/// A picker behind a real gRPC server on loopback, with a pool whose metrics the test sets.
struct TestPicker {
    let pool: Pool
    let telemetry: Telemetry
    let server: Server
    let client: GRPCClient
    let admission: AdmissionController?

    /// The text of `/metrics`.
    var metrics: String {
        var page: [UInt8] = []
        telemetry.metrics.registry.render(into: &page)
        return String(decoding: page, as: UTF8.self)
    }

    var inFlight: [Int] { pool.snapshot.endpoints.map(\.load.reading.requests) }

    /// Sends frames one after the other on one stream and reads `replies` replies.
    func exchange(_ frames: [EnvoyFrame], replies: Int) async throws -> [EnvoyReply] {
        let stream = client.call(ExternalProcessor.method, timeout: .seconds(120))
        for frame in frames { await stream.send(frame.bytes) }
        let received = try await stream.replies(replies)
        await stream.halfClose()
        _ = await stream.status()
        return received
    }

    /// Sends frames and says with which status the stream ended; replies are left unread.
    func status(_ frames: [EnvoyFrame]) async -> GRPCCallStatus {
        let stream = client.call(ExternalProcessor.method, timeout: .seconds(120))
        for frame in frames { await stream.send(frame.bytes) }
        await stream.halfClose()
        return await stream.status()
    }
}

extension GRPCClientCall {
    /// The next `count` replies.
    func replies(_ count: Int) async throws -> [EnvoyReply] {
        var replies: [EnvoyReply] = []
        while replies.count < count {
            guard let bytes = await receive() else {
                let status = await status()
                Issue.record("the stream ended with \(status) after \(replies.count) of \(count) replies: \(replies)")
                break
            }
            replies.append(try #require(EnvoyReply(decoding: bytes)))
        }
        return replies
    }
}

enum TestProfiles {
    /// What the reference's hermetic tests configure: every scorer with weight 1.
    static var hermetic: Scheduler {
        scheduler([
            ("queue-scorer", 1, QueueScorer()), ("kv-cache-utilization-scorer", 1, KVCacheUtilizationScorer()),
            ("prefix-cache-scorer", 1, PrefixCacheScorer()), ("lora-affinity-scorer", 1, LoRAAffinityScorer()),
        ])
    }

    static func scheduler(
        _ scorers: [(String, Float, any Scorer)],
        maxNumOfEndpoints: Int = 1
    ) -> Scheduler {
        Scheduler(
            profiles: [
                SchedulingProfile(
                    name: "default",
                    scorers: scorers.map { .init(name: $0, weight: $1, scorer: $2) },
                    picker: MaxScorePicker(maxNumOfEndpoints: maxNumOfEndpoints)
                )
            ],
            prefixCache: ApproximatePrefixCache()
        )
    }
}

/// The scheduler that a configuration file makes; what is said about the file fails the test.
func scheduler(_ configuration: String) throws -> Scheduler {
    let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n" + configuration
    let result = ConfigurationLoader.setup(text: Array(text.utf8), file: "f")
    #expect(result.diagnostics.isEmpty, "\(result.diagnostics)")
    return try #require(result.setup).scheduler
}

func withPicker<Result>(
    _ pods: [Pod],
    scheduler: Scheduler = TestProfiles.hermetic,
    settings: DirectorSettings = .defaults,
    limits: PickerLimits = .defaults,
    maxReceiveMessageBytes: Int = 4 << 20,
    admission: AdmissionSettings? = nil,
    alarm: ManualAlarm = ManualAlarm(now: .now()),
    priorities: [String: Int] = [:],
    modelRewrites: [InferenceModelRewrite] = [],
    client httpClient: HTTPClient? = nil,
    onRenderer: @escaping @Sendable (String?) -> Void = { _ in },
    _ body: (TestPicker) async throws -> Result
) async throws -> Result {
    let pool = Pool(stalenessThreshold: .seconds(3600))
    pool.replaceEndpoints(pods.map(\.description))
    pool.set(pods)
    let telemetry = Telemetry()
    let gate = admission.map { settings in
        DirectorAdmission(
            settings,
            pool: pool,
            poolName: "test-pool",
            telemetry: telemetry,
            alarm: alarm,
            clock: { alarm.now }
        )
    }
    let director = Director(
        pool: pool,
        scheduler: scheduler,
        telemetry: telemetry,
        settings: settings,
        admission: gate,
        renderer: httpClient.map { TokenRenderer(client: $0, telemetry: telemetry, onTransition: onRenderer) },
        seed: 1
    )
    director.use(ObjectiveTable(priorities.map { InferenceObjective(name: $0.key, priority: $0.value) }))
    director.use(ModelRewriteTable(modelRewrites))
    var configuration = ServerConfiguration.defaults
    configuration.bindAddress = "127.0.0.1"
    configuration.port = 0
    configuration.pollers = 1
    configuration.maxReceiveMessageBytes = maxReceiveMessageBytes
    let server = try Server(
        configuration: configuration,
        services: [ExternalProcessor.method: ExternalProcessor.handler(director: director, limits: limits)]
    )
    let client = GRPCClient(port: server.port)
    let picker = TestPicker(
        pool: pool,
        telemetry: telemetry,
        server: server,
        client: client,
        admission: gate?.controller
    )
    do {
        let result = try await body(picker)
        client.shutdown()
        await server.shutdown(grace: .seconds(5))
        // Whatever the test did, nothing may be left reserved, once a page has told what became of requests that Envoy did not follow.
        pool.set(pods)
        #expect(picker.inFlight.allSatisfy { $0 == 0 }, "reservations are left over")
        return result
    } catch {
        client.shutdown()
        await server.shutdown(grace: .seconds(5))
        throw error
    }
}

extension Pool {
    /// Gives the endpoints, in order, these pods' metrics, as if just scraped.
    func set(_ pods: [Pod]) {
        for (endpoint, pod) in zip(snapshot.endpoints, pods) {
            scrapeSucceeded(endpoint, scrapeStarted(endpoint, at: .now()), pod.metrics)
        }
        publish()
    }
}

/// The frames of a completions request as the reference's tests build them.
func llmRequest(
    _ prompt: String,
    model: String,
    target: String,
    subset: [String]? = nil
) -> [EnvoyFrame] {
    let headers = EnvoyFrame.requestHeaders([
        ("hi", "mom"), ("x-request-id", "test-request-id"), ("x-gateway-inference-objective", model),
        ("x-gateway-model-name-rewrite", target),
    ])
    let body = EnvoyFrame.requestBody(completion(prompt, model: model), endOfStream: true)
    guard let subset else { return [headers, body] }
    return [headers.with(subset: subset), body.with(subset: subset)]
}

func completion(_ prompt: String, model: String) -> String {
    #"{"max_tokens":100,"model":"\#(model)","prompt":"\#(prompt)","temperature":0}"#
}

/// The replies that route a request: only changed headers, then the client's bytes with the model replaced.
func routed(to endpoint: String, body: String, contentLength: Bool = true) -> [EnvoyReply] {
    var headers = EnvoyReply(.requestHeaders)
    headers.set = ["x-gateway-destination-endpoint: \(endpoint)"]
    if contentLength { headers.set.insert("content-length: \(body.utf8.count)", at: 0) }
    headers.clearsRouteCache = true
    headers.metadata = ["envoy.lb/x-gateway-destination-endpoint=\(endpoint)"]
    var chunk = EnvoyReply(.requestBody)
    chunk.body = .streamed(Array(body.utf8), endOfStream: true)
    return [headers, chunk]
}

func immediate(_ status: Int, _ text: String, reason: String? = nil, retryAfter: Int = 1) -> EnvoyReply {
    var reply = EnvoyReply(.immediate)
    reply.status = status
    reply.body = .replaced(Array(text.utf8))
    if let reason { reply.set = ["retry-after: \(retryAfter)", "x-llm-d-request-dropped-reason: \(reason)"] }
    return reply
}
