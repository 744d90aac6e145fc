package import Bytes
package import Inference
package import Pool
package import Scheduling

/// One request while its legs run: what was asked, and how far it has come. It belongs to the request's own task.
package final class OrchestratedRequest {
    /// What stays the same for all legs.
    package struct Facts {
        /// Nil for a body that Apus does not read: it can be relayed, and nothing else.
        package var inference: InferenceRequest?
        package var body: SharedBytes
        /// What is changed of the body for every leg: the model's name.
        package var edits: BodyEdits
        /// The target model's name.
        package var model: String
        package var method: String
        /// With the query.
        package var path: String
        package var requestID: String
        /// Whether the client chose the id, so that it may come again with it.
        package var mayReturn: Bool
        /// What else makes two requests with one id the same: a hash of who asks.
        package var identity: UInt64

        package init(
            inference: InferenceRequest?,
            body: SharedBytes,
            edits: BodyEdits,
            model: String,
            method: String = "POST",
            path: String,
            requestID: String,
            mayReturn: Bool,
            identity: UInt64
        ) {
            self.inference = inference
            self.body = body
            self.edits = edits
            self.model = model
            self.method = method
            self.path = path
            self.requestID = requestID
            self.mayReturn = mayReturn
            self.identity = identity
        }
    }

    package private(set) var facts: Facts
    package let picker: any StagePicker
    package let transport: any LegTransport
    package let journal: any OrchestrationJournal
    package var generator: SeededGenerator
    let watch: ClientWatch
    /// When all sub-requests must be done.
    private(set) var deadline: MonotonicTime

    /// Whether the prompt, and its images, are computed elsewhere than where it is decoded.
    package internal(set) var wantsPrefill: Bool
    package let wantsEncode: Bool
    /// The endpoints that the decision found for the first attempts.
    var first: [Stage: StagePick]

    /// What all later legs' bodies change, once images are encoded.
    var edits: BodyEdits
    var isEncoded = false
    /// What a prefill left and no decode has seen.
    var finishedPrefill: FinishedPrefill?
    /// Endpoints that failed this request, by number.
    var failedPrefills: Set<Int> = []
    var failedDecodes: Set<Int> = []
    var prefills = PrefillAttempts()
    /// Decodes sent, by Apus or by the gateway.
    var decodeAttempts = 0
    var failures: [LegReport] = []
    var hasTriedToResume = false
    var isExamined = false
    var hasAskedDecode = false
    var hasEnded = false

    /// - Parameters:
    ///   - deadline: when all sub-requests must be done.
    ///   - clientGone: returns true once the client has left; runs beside the legs.
    package init(
        _ facts: Facts,
        wantsPrefill: Bool,
        wantsEncode: Bool,
        first: [Stage: StagePick] = [:],
        picker: any StagePicker,
        transport: any LegTransport,
        journal: any OrchestrationJournal,
        generator: SeededGenerator,
        deadline: MonotonicTime,
        clientGone: @escaping @Sendable () async -> Bool
    ) {
        self.facts = facts
        self.wantsPrefill = wantsPrefill && facts.inference != nil
        self.wantsEncode = wantsEncode && facts.inference != nil
        self.first = first
        self.picker = picker
        self.transport = transport
        self.journal = journal
        self.generator = generator
        self.deadline = deadline
        watch = ClientWatch(clientGone: clientGone)
        edits = facts.edits
    }

    /// A decode that was handed off failed: what follows must be done by `deadline`, and without that endpoint.
    ///
    /// - Parameter report: how, for who is told when nothing helps.
    package func decodeFailed(_ endpoint: Endpoint, _ report: LegReport, _ deadline: MonotonicTime) {
        failures.append(report)
        failedDecodes.insert(endpoint.number)
        finishedPrefill = nil
        decodeAttempts += 1
        self.deadline = deadline
    }

    /// The same when the prefill beside it failed: the endpoint may serve again.
    package func decodeCancelled(_ deadline: MonotonicTime) {
        finishedPrefill = nil
        decodeAttempts += 1
        self.deadline = deadline
    }

    /// No leg follows: the body and what was read of it can go.
    func releaseBody() {
        facts.body = SharedBytes(ByteBuffer())
        facts.inference = nil
        facts.edits = BodyEdits()
        edits = BodyEdits()
    }

    /// 63 bits, never 0: what a new attempt is known by among the engines.
    func newAttemptID() -> UInt64 {
        max(1, generator.next() >> 1)
    }

    /// What a new attempt begins with; nil for a body that Apus does not read.
    ///
    /// - Parameter attemptID: that of the attempt that goes on; nil for a new one.
    func context(_ ports: OrchestrationSettings.Ports, attemptID: UInt64? = nil) -> LegContext? {
        guard let inference = facts.inference else { return nil }
        return LegContext(
            request: inference,
            body: facts.body,
            requestID: facts.requestID,
            attemptID: attemptID ?? newAttemptID(),
            model: facts.model,
            ports: ports
        )
    }

    func report(_ stage: Stage, _ endpoint: Endpoint, attempt: Int, _ outcome: String, seconds: Double) {
        let report = LegReport(
            stage: stage,
            endpoint: endpoint.hostPort,
            attempt: attempt,
            outcome: outcome,
            seconds: seconds
        )
        // What was called off did not fail.
        if outcome != LegVerdict.okOutcome, outcome != LegFailure.Code.cancelled.rawValue { failures.append(report) }
        journal.ended(report)
    }
}

/// A prompt that has been computed. Good for one decode.
package struct FinishedPrefill: Sendable {
    package let handover: Handover
    package let endpoint: Endpoint
    /// What the engines know the transfer by.
    package let attemptID: UInt64
    /// From here on the engine's own time runs until it forgets.
    package let finishedAt: MonotonicTime
    /// The prefill's whole answer, when it is the request's own and nothing is left to decode.
    package var answer: SharedBytes?

    package init(_ handover: Handover, endpoint: Endpoint, attemptID: UInt64, at now: MonotonicTime) {
        self.handover = handover
        self.endpoint = endpoint
        self.attemptID = attemptID
        finishedAt = now
    }
}
