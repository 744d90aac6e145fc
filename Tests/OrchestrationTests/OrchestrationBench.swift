import Bytes
import Inference
import Orchestration
import Pool
import Scheduling
import Testing

typealias ConnectorName = OrchestrationSettings.ConnectorName

/// Chooses the least loaded endpoint of a stage's role, the first of several, and reserves it.
final class PoolPicker: StagePicker {
    private let pool: Pool
    private(set) var picks: [String] = []
    /// Endpoints that do every stage.
    var generalists: Set<String> = []
    /// Called after each choice.
    var didPick: (Stage) -> Void = { _ in }

    init(_ pool: Pool) {
        self.pool = pool
    }

    func pick(_ stage: Stage, peer: Endpoint?, excluding isExcluded: (Endpoint) -> Bool) -> StagePick? {
        defer { didPick(stage) }
        let candidates = pool.snapshot.endpoints.filter {
            ($0.labels["role"] == stage.rawValue || generalists.contains($0.address)) && !isExcluded($0)
        }
        let sorted = candidates.sorted { ($0.load.reading.requests, $0.number) < ($1.load.reading.requests, $1.number) }
        guard let endpoint = sorted.first else { return nil }
        picks.append("\(stage.rawValue) \(endpoint.address)")
        return StagePick(pool.reserve(endpoint, tokens: 10))
    }

    func canPick(_ stage: Stage, excluding isExcluded: (Endpoint) -> Bool) -> Bool {
        pool.snapshot.endpoints.contains { $0.labels["role"] == stage.rawValue && !isExcluded($0) }
    }
}

/// Legs that ended after their requests.
final class LateLegs: Sendable {
    private let legs = Lock<[LegReport]>([])

    func append(_ leg: LegReport) { legs.withLock { $0.append(leg) } }

    var outcomes: [String] { legs.withLock { $0.map(\.outcome) } }
}

/// Writes down what it is told.
final class RecordingJournal: OrchestrationJournal {
    private(set) var events: [String] = []
    private(set) var legs: [LegReport] = []
    /// How legs ended that went on after their request.
    let late = LateLegs()

    func reached(_ checkpoint: Checkpoint) { events.append(checkpoint.rawValue) }
    func retracted(_ checkpoint: Checkpoint) {
        if events.last == checkpoint.rawValue { events.removeLast() }
    }
    func ended(_ leg: LegReport) {
        legs.append(leg)
        events.append("\(leg.stage.rawValue) \(leg.outcome)")
    }
    func outlived(by leg: LegReport) -> @Sendable (LegReport) -> Void {
        ended(leg)
        return { [late] leg in late.append(leg) }
    }
    func resumed() { events.append("resumed") }
    func exhausted(_ stage: Stage, decodesLocally: Bool) {
        events.append("\(stage.rawValue) exhausted\(decodesLocally ? ", decoded locally" : "")")
    }
    func decodedAlone(_ reason: String) { events.append("decoded alone") }
    func stranded() { events.append("stranded") }

    /// `prefill 10.0.0.1 #1 ok` and so on.
    var summary: [String] {
        legs.map { "\($0.stage.rawValue) \($0.endpoint.split(separator: ":")[0]) #\($0.attempt) \($0.outcome)" }
    }
    func count(_ event: String) -> Int { events.count { $0 == event } }
}

/// Time that stands still unless a test moves it. Who sleeps briefly does so until a leg is silent; who sleeps for longer, until the alarm.
final class TestClock: Sendable {
    private let time = Lock(MonotonicTime(nanoseconds: 1_000_000_000_000))
    let alarm = Gate()
    private let slept = Lock<[Duration]>([])

    var now: MonotonicTime { time.withLock { $0 } }
    /// What was asked for, without the times of grace.
    var sleeps: [Duration] { slept.withLock { $0 } }

    func advance(by duration: Duration) { time.withLock { $0 = $0 + duration } }

    func sleep(_ duration: Duration, _ transport: ScriptedTransport?) async throws {
        if duration <= .milliseconds(10) {
            if let transport { await transport.silent() } else { _ = await alarm.wait() }
        } else {
            slept.withLock { $0.append(duration) }
            _ = await alarm.wait()
        }
        try Task.checkCancellation()
    }
}

/// A script by which all goes well.
@Sendable func allGood(_ sent: ScriptedTransport.Sent) -> Reply? { nil }

/// An orchestrator over a real pool and a scripted transport.
final class OrchestrationBench {
    let pool = Pool(stalenessThreshold: .seconds(2))
    let clock: TestClock
    let transport: ScriptedTransport
    let settings: OrchestrationSettings
    let pairs: PairBreakers
    let resumptions: Resumptions
    let orchestrator: Orchestrator
    /// Opened when the client leaves.
    let client = Gate()
    /// Whether nobody can tell if the client is there.
    let isBlind: Bool

    /// - Parameters:
    ///   - graceEnds: whether the time of grace of a prefill ends when that is silent; otherwise it never does.
    ///   - script: what engines answer to prefill, encode and decode legs; nil for a good answer.
    init(
        _ connector: ConnectorName = .nixlv2,
        prefills: Int = 3,
        decodes: Int = 2,
        encoders: Int = 0,
        pairs: PairBreakers = PairBreakers(),
        resumptions: Resumptions = Resumptions(),
        clock: TestClock = TestClock(),
        graceEnds: Bool = true,
        isBlind: Bool = false,
        _ configure: (inout OrchestrationSettings) -> Void = { _ in },
        script: @escaping @Sendable (ScriptedTransport.Sent) -> Reply?
    ) {
        var settings = OrchestrationSettings()
        settings.mode = .relay
        settings.connector = connector
        configure(&settings)
        let encode = settings.encodeConnector
        self.settings = settings
        self.pairs = pairs
        self.resumptions = resumptions
        let transport = ScriptedTransport { sent in script(sent) ?? .good(sent, connector, encode) }
        self.transport = transport
        self.clock = clock
        self.isBlind = isBlind
        orchestrator = Orchestrator(
            settings: settings,
            connector: ConnectorRegistry.connector(settings),
            encodeConnector: ConnectorRegistry.encodeConnector(settings),
            pairs: pairs,
            resumptions: resumptions,
            now: { clock.now },
            sleep: { [weak transport] in try await clock.sleep($0, graceEnds ? transport : nil) }
        )
        let roles: [(Stage, Int)] = [(.prefill, prefills), (.decode, decodes), (.encode, encoders)]
        pool.replaceEndpoints(
            roles.enumerated().flatMap { role, entry in
                (0..<entry.1).map { index in
                    EndpointDescription(
                        name: "\(entry.0.rawValue)-\(index)",
                        namespace: "n",
                        address: "10.0.\(role).\(index + 1)",
                        port: 8000,
                        labels: ["role": entry.0.rawValue]
                    )
                }
            }
        )
    }

    // Nobody goes on for ever who keeps what the test has left.
    deinit {
        clock.alarm.open()
        transport.end.open()
    }

    func endpoint(_ address: String) throws -> Endpoint {
        try #require(pool.snapshot.endpoints.first { $0.address == address })
    }

    /// Whether the pool knows how fast this endpoint computes prompts.
    func hasLearnt(_ address: String) throws -> Bool {
        let endpoint = try endpoint(address)
        // A prompt that a long time has passed for.
        let probe = pool.reserve(endpoint, tokens: 1)
        let candidates = pool.candidates(at: .now() + .seconds(60))
        probe.release()
        return candidates.list.indices.contains { position in
            candidates.endpoint(position) === endpoint && candidates.list[position].doneTokens > 0
        }
    }

    /// Requests in flight anywhere.
    var inFlight: Int { pool.snapshot.endpoints.reduce(0) { $0 + $1.load.reading.requests } }

    func state(_ address: String) throws -> Breaker.State { try endpoint(address).breaker.state(at: clock.now) }

    /// Makes an endpoint's breaker open now.
    func open(_ address: String) throws {
        let breaker = try endpoint(address).breaker
        for _ in 0..<settings.breaker.failures {
            breaker.enter(at: clock.now)?.failed(at: clock.now, orchestrator.breakerPolicy)
        }
    }

    func run(_ body: String = OrchestrationBench.prompt, _ change: (inout Run.Options) -> Void = { _ in }) throws -> Run
    {
        var options = Run.Options()
        change(&options)
        return try Run(self, body, options)
    }

    static let prompt = #"{"model":"m","prompt":"tell me","max_tokens":50}"#

    /// One request on its way.
    final class Run {
        struct Options {
            var api = InferenceAPI.completions
            var path = "/v1/completions"
            var wantsPrefill = true
            var wantsEncode = false
            var requestID = "r-1"
            var mayReturn = true
            var identity: UInt64 = 7
            var seed: UInt64 = 1
            /// Nil: the bench's.
            var client: Gate?
        }

        let bench: OrchestrationBench
        let request: OrchestratedRequest
        let journal = RecordingJournal()
        let picker: PoolPicker

        init(_ bench: OrchestrationBench, _ body: String, _ options: Options) throws {
            self.bench = bench
            let buffer = ByteBuffer(copying: body.utf8)
            let inference = try InferenceRequest.read(buffer, api: options.api)
            let facts = OrchestratedRequest.Facts(
                inference: inference,
                body: SharedBytes(buffer),
                edits: BodyEdits(),
                model: inference.model,
                path: options.path,
                requestID: options.requestID,
                mayReturn: options.mayReturn,
                identity: options.identity
            )
            picker = PoolPicker(bench.pool)
            let (client, isBlind) = (options.client ?? bench.client, bench.isBlind)
            request = OrchestratedRequest(
                facts,
                wantsPrefill: options.wantsPrefill,
                wantsEncode: options.wantsEncode,
                picker: picker,
                transport: bench.transport,
                journal: journal,
                generator: SeededGenerator(seed: options.seed),
                deadline: bench.orchestrator.nextDeadline,
                clientGone: { isBlind ? false : await client.wait() }
            )
        }

        func prepare() async throws(OrchestrationError) -> DecodeOrder {
            try await bench.orchestrator.prepareDecode(of: request)
        }

        func relay() async throws(OrchestrationError) -> RelayedDecode {
            try await bench.orchestrator.relayDecode(of: request)
        }

        func end() { bench.orchestrator.end(request) }

        /// Why preparing fails; nil when it does not.
        func prepareError() async -> OrchestrationError? {
            do throws(OrchestrationError) {
                _ = try await prepare()
                return nil
            } catch {
                return error
            }
        }

        func relayError() async -> OrchestrationError? {
            do throws(OrchestrationError) {
                _ = try await relay()
                return nil
            } catch {
                return error
            }
        }
    }
}

extension OrchestrationError {
    /// A word for each case, with what a test asks of it.
    var word: String {
        switch self {
        case .clientGone: "client gone"
        case .unsuitable: "unsuitable"
        case .refused(let answer): "refused \(answer.status)"
        case .exhausted(let stage, let legs):
            "\(stage.rawValue) exhausted: \(legs.map(\.outcome).joined(separator: " "))"
        case .noPermit: "no permit"
        case .deadline: "deadline"
        case .noDecodeEndpoint: "no decode endpoint"
        }
    }
}

extension ConnectorName {
    var isConcurrent: Bool { [.sglang, .mooncake].contains(self) }
    /// Whether a prefill's answer has to hold parameters.
    var needsParameters: Bool { [.nixlv2, .trtllm].contains(self) }
}

/// Waits for what follows from something that has happened, such as a cancelled task's end.
func eventually(_ condition: () -> Bool) async -> Bool {
    for _ in 0..<100_000 {
        if condition() { return true }
        await Task.yield()
    }
    return condition()
}

extension OrchestrationBench {
    /// Whether nothing is left of any request: no leg, no load, no body, no probe.
    func isIdle() async -> Bool {
        await eventually { inFlight == 0 && transport.underWay == 0 && transport.bodiesOpen == 0 }
    }
}
