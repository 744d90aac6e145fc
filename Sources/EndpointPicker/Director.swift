internal import Bytes
package import Configuration
internal import ExtProc
package import Inference
package import Pool
package import Scheduling
internal import SubRequests
internal import Synchronization
package import Telemetry

/// Decides where requests go, for all exchanges: reads what a request asks, asks the scheduler, reserves the load, keeps the records.
package final class Director: Sendable {
    package let pool: Pool
    package let telemetry: Telemetry
    /// Nil lets everything in.
    package let admission: DirectorAdmission?
    /// Nil where prompts are only estimated.
    let renderer: TokenRenderer?
    /// What the configuration decides; a reload replaces it as a whole.
    private let policy: Lock<Policy>
    private let objectives = Lock(ObjectiveTable())
    private let modelRewrites = Lock(ModelRewriteTable())
    private let seed: UInt64
    private let exchanges = Atomic<UInt64>(0)
    private let herding = HerdingIndex()
    /// Looks after decodes that were handed off.
    let silence = SilenceWatch()
    /// How many decisions were begun.
    let decisions = Atomic<UInt64>(0)

    /// How often a decision is made again because another request took the picked endpoint meanwhile. After that it stands as it is.
    static let rescheduleLimit = 8

    package init(
        pool: Pool,
        scheduler: Scheduler,
        telemetry: Telemetry,
        settings: DirectorSettings = .defaults,
        admission: DirectorAdmission? = nil,
        orchestration: DirectorOrchestration? = nil,
        renderer: TokenRenderer? = nil,
        seed: UInt64
    ) {
        self.pool = pool
        self.telemetry = telemetry
        self.admission = admission
        self.renderer = renderer
        policy = Lock(Policy(scheduler: scheduler, settings: settings, orchestration: orchestration))
        self.seed = seed
    }

    /// Decides by another configuration from the next request on. Requests under way end by the one they began with.
    package func reconfigure(
        scheduler: Scheduler,
        settings: DirectorSettings,
        orchestration: DirectorOrchestration? = nil
    ) {
        let policy = Policy(scheduler: scheduler, settings: settings, orchestration: orchestration)
        scheduler.policies.takeOver(from: self.policy.withLock { $0 }.scheduler.policies)
        self.policy.withLock { $0 = policy }
    }

    /// Gives requests the priorities of other objectives from the next request on.
    package func use(_ objectives: ObjectiveTable) {
        self.objectives.withLock { $0 = objectives }
    }

    /// Rewrites models by other rules from the next request on.
    package func use(_ modelRewrites: ModelRewriteTable) {
        self.modelRewrites.withLock { $0 = modelRewrites }
    }

    var settings: DirectorSettings { policy.withLock { $0 }.settings }

    /// A random generator for one exchange.
    func nextGenerator() -> SeededGenerator {
        let number = exchanges.wrappingAdd(1, ordering: .relaxed).newValue
        var generator = SeededGenerator(seed: seed &+ number &* 0x9E37_79B9_7F4A_7C15)
        // The first number of close seeds is close; the second is not.
        _ = generator.next()
        return generator
    }

    // MARK: Reading

    /// Reads the whole body of a request; nil when the parser of its path reads none.
    func parse(
        headers: HeaderList,
        body: borrowing ByteBuffer,
        with parsers: ParserSelection
    ) throws(PickerError) -> PickedRequest? {
        do {
            guard let request = try parsers.parse(body, path: headers.inferencePath) else { return nil }
            return PickedRequest(model: request.model, modelRange: request.modelRange, inference: request)
        } catch {
            throw PickerError(.badRequest, error.message, fault: .client)
        }
    }

    // MARK: Deciding

    /// Picks an endpoint and reserves the request's load on it.
    ///
    /// The record is one that `describe` has filled in; what was decided is added to it. When nobody can serve the request, it is reported and the error thrown.
    func decide(
        _ inquiry: Inquiry,
        body: borrowing ByteBuffer,
        record: RequestRecord,
        generator: inout SeededGenerator
    ) throws(PickerError) -> Decision {
        let policy = policy.withLock { $0 }
        let scheduler = policy.scheduler
        let startedAt = MonotonicTime.now()
        var candidates = pool.candidates(in: inquiry.subset, at: startedAt)
        let policies = scheduler.policies
        // Again: the configuration may be another one since the request was let in.
        if let inference = inquiry.request?.inference {
            try Self.checkMembers(inference, in: body, scheduler.handler.traits)
        }
        let scheduling = schedulingRequest(
            inquiry,
            body: body,
            record: record,
            snapshot: candidates.snapshot,
            scheduler: scheduler
        )
        var attempt = 0
        while true {
            let result: SchedulingResult
            do {
                result = try schedule(scheduling, candidates, policy, using: &generator)
            } catch {
                record.decidedAt = MonotonicTime.now().nanoseconds
                telemetry.decisionFailed(record)
                throw PickerError(error)
            }
            attempt += 1
            let reserved = reserve(
                result,
                scheduling,
                policies.inFlightLoad,
                whatever: attempt >= Self.rescheduleLimit
            )
            guard let reserved else {
                // Another request was sent there since the load was read; what it added counts now.
                candidates = pool.candidates(in: inquiry.subset, at: startedAt)
                continue
            }
            scheduler.record(scheduling, result)
            if let most = herding.picked(result.endpoint, on: candidates.snapshot) { telemetry.herded(most) }
            let decidedAt = MonotonicTime.now()
            note(result, scheduling, in: record, startedAt: startedAt, decidedAt: decidedAt, scheduler.prefixCache)
            // Where an endpoint that decodes can do nothing alone, no decider can wish for that.
            let mustSplit = policy.orchestration?.decodesAlone == false && scheduler.hasPrefill
            let wantsPrefill =
                result.prefill != nil
                || (mustSplit && scheduling.carriesPrompt && inquiry.request?.inference != nil)
            if scheduler.handler.traits.disaggregates, scheduling.carriesPrompt {
                telemetry.disaggregated(
                    model: record.targetModel,
                    encode: result.encode != nil,
                    prefill: wantsPrefill,
                    plugin: PluginLabels(
                        name: scheduler.handlerPlugin.name,
                        type: scheduler.handlerPlugin.type
                    )
                )
            }
            var decision = Decision(
                destination: result.destination,
                scores: policy.settings.emitsScores ? Self.scores(of: result.primary) : nil,
                prompt: scheduler.prefixCache.map { PlacedPrompt(blocks: scheduling.prefix, cache: $0) },
                reservations: reserved
            )
            decision.headers = result.requestHeaders
            decision.clientHeaders = scheduler.handler.traits.profileHeader.map { [$0] } ?? []
            decision.responseHeaders = policies.responseHeaders(result)
            decision.reportsServedEndpoint = policies.reportsServedEndpoint
            decision.destinations = result.destinations
            decision.tokensEndWithFirstByte = !policies.inFlightLoad.addEstimatedOutputTokens
            if let orchestration = policy.orchestration {
                decision.legs = LegPlan(
                    orchestration: orchestration,
                    picker: RequestStagePicker(
                        self,
                        scheduler,
                        scheduling,
                        subset: inquiry.subset,
                        record: record,
                        generator: generator
                    ),
                    wantsPrefill: wantsPrefill,
                    wantsEncode: result.encode != nil,
                    mustSplit: mustSplit
                )
            }
            return decision
        }
    }

    /// Refuses a request that says what only a picker may say.
    func checkMembers(of inquiry: Inquiry, in body: borrowing ByteBuffer) throws(PickerError) {
        guard let inference = inquiry.request?.inference else { return }
        try Self.checkMembers(inference, in: body, policy.withLock { $0 }.scheduler.handler.traits)
    }

    /// Fills in what a request asks for and how urgent it is. Once per request, since what model it gets may be a matter of chance.
    func describe(_ inquiry: Inquiry, in record: RequestRecord, using generator: inout SeededGenerator) {
        let request = inquiry.request
        record.model = request?.model ?? ""
        record.targetModel = record.model
        record.isStreaming = request?.inference?.stream ?? false
        if let objective = inquiry.headers.objective {
            record.priority = objectives.withLock { $0 }.priority(of: objective)
        }
        guard request?.namesModel == true else { return }
        if let decision = modelRewrites.withLock({ $0 }).decision(for: record.model, using: &generator) {
            record.targetModel = decision.target
            telemetry.rewritten(by: decision.rewrite, model: record.model, target: decision.target)
        } else if let wanted = inquiry.headers.modelRewrite {
            record.targetModel = wanted
        }
    }

    private func schedulingRequest(
        _ inquiry: Inquiry,
        body: borrowing ByteBuffer,
        record: RequestRecord,
        snapshot: Snapshot,
        scheduler: Scheduler
    ) -> SchedulingRequest {
        let headers = inquiry.headers
        var scheduling = SchedulingRequest(
            model: record.model,
            targetModel: record.targetModel,
            estimatedTokens: inquiry.promptTokens,
            header: { headers.value(named: $0) }
        )
        scheduling.now = MonotonicTime(nanoseconds: record.bodyCompleteAt)
        scheduling.clock = pluginClock()
        scheduling.carriesPrompt = !record.isHeadersOnly
        scheduling.maxOutputTokens = inquiry.request?.inference?.maxTokens
        scheduling.multimodalParts = inquiry.parts.count
        if let inference = inquiry.request?.inference, let cache = scheduler.prefixCache {
            let blockTokens = cache.settings.blockTokens(in: snapshot)
            let hashes = PrefixBlocks.hashes(
                of: inference,
                in: body,
                model: record.targetModel,
                blockTokens: blockTokens,
                bytesPerToken: PrefixCacheSettings.bytesPerToken,
                maxBlocks: cache.settings.maximumBlocks(blockTokens: blockTokens)
            )
            scheduling.prefix = PromptBlocks(
                hashes: hashes,
                blockTokens: blockTokens,
                exactTokens: inquiry.tokens?.perBlock(ofBytes: blockTokens * PrefixCacheSettings.bytesPerToken)
            )
        }
        return scheduling
    }

    // MARK: Records

    private func note(
        _ result: SchedulingResult,
        _ request: SchedulingRequest,
        in record: RequestRecord,
        startedAt: MonotonicTime,
        decidedAt: MonotonicTime,
        _ cache: ApproximatePrefixCache?
    ) {
        notePluginTimes(of: result)
        let endpoint = result.endpoint
        record.decidedAt = decidedAt.nanoseconds
        record.schedulingTime = decidedAt.nanoseconds - startedAt.nanoseconds
        record.pick = RequestRecord.Pick(endpoint)
        record.decision = DecisionRecord(
            requestID: record.requestID,
            model: record.model,
            targetModel: record.targetModel,
            profiles: result.results.map(\.decision)
        )
        if let cache {
            let predicted = result.predictedBlocks
            let blockTokens = cache.settings.blockTokens(in: result.primary.candidates.snapshot)
            record.predictedCachedTokens = request.tokens(ofBlocks: predicted.matched, blockTokens)
            telemetry.prefixPredicted(
                matched: predicted.matched,
                total: predicted.total,
                blockBytes: blockTokens * PrefixCacheSettings.bytesPerToken
            )
        }
    }

    /// The picked endpoints' weighted sums, as `ip:port=score` in the order of the destination.
    private static func scores(of result: ProfileResult) -> String {
        result.picked.map { "\(result.candidates.endpoint($0).hostPort)=\(result.totals[$0])" }.joined(separator: ",")
    }
}

extension ProfileResult {
    var decision: ProfileDecision {
        let candidates = candidates
        return ProfileDecision(
            name: profile.name,
            scorers: profile.scorers.map(\.name),
            candidateCount: candidates.count,
            scores: scores,
            totals: totals,
            picked: picked,
            endpoint: { candidates.endpoint($0).hostPort }
        )
    }
}

/// One object, so that a decision takes one reference of it and not one per scorer.
final class Policy: Sendable {
    let scheduler: Scheduler
    let settings: DirectorSettings
    /// Nil where sidecars send the sub-requests.
    let orchestration: DirectorOrchestration?

    init(scheduler: Scheduler, settings: DirectorSettings, orchestration: DirectorOrchestration?) {
        self.scheduler = scheduler
        self.settings = settings
        self.orchestration = orchestration
    }
}

/// What the director does, beyond scheduling.
package struct DirectorSettings: Sendable {
    /// How bodies are read.
    package var parsers: ParserSelection
    /// Whether a gateway's subset of endpoints binds.
    package var honorsSubset: Bool
    /// Whether the picked endpoints' scores go into dynamic metadata.
    package var emitsScores: Bool

    /// How much of the responses is looked at.
    package var responseProcessing = EndpointPickerConfiguration.ResponseProcessing.full

    /// The server that says how many tokens a prompt has; nil where that is estimated.
    package var rendering: TokenRendering?
    /// The tokens that images and the like are taken to have.
    package var media = MediaEstimate()

    package init(parsers: ParserSelection = .default, honorsSubset: Bool, emitsScores: Bool) {
        self.parsers = parsers
        self.honorsSubset = honorsSubset
        self.emitsScores = emitsScores
    }

    package static let defaults = DirectorSettings(honorsSubset: true, emitsScores: false)
}

/// What a decision is made on.
struct Inquiry {
    let headers: HeaderList
    /// Nil for a request whose body says nothing.
    let request: PickedRequest?
    let subset: SubsetHint?
    let bodyByteCount: Int
    /// Images and the like in the prompt.
    var parts = MultimodalParts()
    /// Nil where the number of the prompt's bytes is all that is known.
    var tokens: PromptTokens?

    /// The prompt's tokens, as far as they can be told.
    var promptTokens: Int {
        tokens?.count ?? request?.inference?.estimatedPromptTokens ?? bodyByteCount / 4
    }
}

/// What a server is asked of a prompt.
struct TokenRequest: Sendable {
    let renderer: TokenRenderer
    let request: HTTPRequest
}

/// A request as far as it could be read.
struct PickedRequest {
    let model: String
    let modelRange: Range<Int>
    /// Nil when only the beginning of the body was seen.
    let inference: InferenceRequest?

    /// Whether there is a name of a model that can be replaced.
    var namesModel: Bool { !modelRange.isEmpty }
}

/// What Envoy is told of a decision.
struct Forwarding {
    /// `ip:port`, several with commas, the best first.
    var destination: String
    var scores: String?
    /// What the destination is told of the request's other endpoints.
    var headers: [(name: String, value: String)]
    /// Control headers that clients may send, in lower case.
    var clientHeaders: [String]
    /// Takes the place of the gateway's part of the trace, for a decode that has one of its own.
    var traceParent: String?
}

/// Where a request goes, and the load that it was given there.
struct Decision: ~Copyable {
    /// `ip:port`, several with commas, the best first.
    let destination: String
    let scores: String?
    /// What the prefix cache was told of the request; nil without one.
    let prompt: PlacedPrompt?
    /// What the destination is told of the request's other endpoints.
    var headers: [(name: String, value: String)] = []
    /// Control headers that clients may send, in lower case.
    var clientHeaders: [String] = []
    /// What the response carries for the client's next request.
    var responseHeaders: [(name: String, value: String)] = []
    /// Whether the response says which endpoint served it.
    var reportsServedEndpoint = false
    /// What the gateway was told, the best first, and which endpoint each is.
    var destinations: [Destination] = []
    /// Whether the request's tokens count only until the answer begins.
    var tokensEndWithFirstByte = false
    /// The sub-requests that Apus makes before the request goes; nil where a sidecar makes them.
    var legs: LegPlan?
    private let reservations: Reservations

    init(destination: String, scores: String?, prompt: PlacedPrompt?, reservations: consuming Reservations) {
        self.destination = destination
        self.scores = scores
        self.prompt = prompt
        self.reservations = reservations
    }

    /// What Envoy is told.
    var forwarding: Forwarding {
        Forwarding(destination: destination, scores: scores, headers: headers, clientHeaders: clientHeaders)
    }

    /// The load on the endpoints that work before the destination does.
    var stages: StageReservations? { reservations.stages }

    consuming func takeReservation() -> Reservation { reservations.takePrimary() }
}
