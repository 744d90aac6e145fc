/// How a request ended, as far as Apus saw it.
package enum Termination: Sendable, Equatable {
    /// The response's end went by.
    case complete
    /// The proxy went after the decision without showing the response: it is configured not to.
    case unobserved
    /// The proxy closed the exchange before the end: the client hung up, or the upstream broke off.
    case clientGone
    /// Apus answered itself, with this status.
    case immediate(status: Int)
    /// Apus ended the exchange with an error of its own; a short word that says which.
    case failed(String)
    /// The record was let go without `finish`.
    case abandoned

    /// As the access log writes it.
    var text: String {
        switch self {
        case .complete: "complete"
        case .unobserved: "unobserved"
        case .clientGone: "client_gone"
        case .immediate(let status): "immediate:\(status)"
        case .failed(let reason): "failed:\(reason)"
        case .abandoned: "abandoned"
        }
    }
}

/// Everything that is told of one request: the exchange fills it as the request goes by, and `Telemetry` makes metrics,
/// the access log and the decision log of it.
///
/// It belongs to the task of its exchange and is not Sendable. It is reported exactly once: by `Telemetry.finish`, or,
/// if that was forgotten on some path, when it is released. Times are nanoseconds of the monotonic clock, 0 where a
/// phase was not reached.
package final class RequestRecord {
    /// The endpoint that a request goes to.
    package struct Pick: Sendable {
        /// `ip:port`.
        package var address: String
        package var name: String
        package var namespace: String
        package var port: Int

        package init(address: String, name: String, namespace: String, port: Int) {
            self.address = address
            self.name = name
            self.namespace = namespace
            self.port = port
        }
    }

    /// Tokens as the model server reported them; nil what it did not.
    package struct Usage: Sendable, Equatable {
        package var promptTokens: Int?
        package var cachedTokens: Int?
        package var completionTokens: Int?

        package init(promptTokens: Int? = nil, cachedTokens: Int? = nil, completionTokens: Int? = nil) {
            self.promptTokens = promptTokens
            self.cachedTokens = cachedTokens
            self.completionTokens = completionTokens
        }
    }

    // MARK: The request

    /// The fairness id of requests that name none.
    package static let defaultFairnessID = "default-flow"

    /// `x-request-id`.
    package var requestID = ""
    package var method = ""
    /// The path with its query, as the client sent it.
    package var path = ""
    package var model = ""
    package var targetModel = ""
    package var fairnessID = RequestRecord.defaultFairnessID
    package var priority = 0
    /// Whether the response comes as events.
    package var isStreaming = false
    /// A request that ends with its headers is not an inference: it is in the access log, but in no metric of requests.
    package var isHeadersOnly = false
    package var requestBytes = 0

    /// Where the request stands in a trace; nil where none is made.
    package var trace: TraceContext?

    // MARK: The decision

    package var pick: Pick?
    /// Tokens of the prompt that the picked endpoint was expected to have cached; nil without a prefix index.
    package var predictedCachedTokens: Int?
    /// Its scores; also what `/debug/decisions` shows.
    package var decision: DecisionRecord?
    /// Sub-requests that ended, in that order.
    package var legs: [DecisionRecord.Leg] = []
    /// Prefill attempts that were made; nil for a request that Apus sends no sub-requests for.
    package var attempts: Int?

    // MARK: The response

    /// The status that the client gets; 0 when there was none.
    package var status = 0
    package var responseBytes = 0
    package var usage = Usage()
    /// The canonical error code (`BadRequest`, `ServiceUnavailable`, …) when the request failed; nil when it did not.
    package var errorCode: String?
    package var termination = Termination.abandoned

    // MARK: Phases

    package let receivedAt: UInt64
    /// The last frame of the request's body, or its trailers, arrived.
    package var bodyCompleteAt: UInt64 = 0
    package var decidedAt: UInt64 = 0
    package var responseHeadersAt: UInt64 = 0
    /// The first byte of the response's body arrived.
    package var firstByteAt: UInt64 = 0
    /// The latest piece of the response's body arrived.
    package var latestPieceAt: UInt64 = 0
    package var finishedAt: UInt64 = 0
    /// Nanoseconds that the request waited to be let in.
    package var queueTime: UInt64 = 0
    /// Nanoseconds that a server took to say which tokens the prompt is; 0 when none was asked.
    package var tokenTime: UInt64 = 0
    /// Whether nothing was seen of it: a stream that ends before its first frame tells of no request.
    package var isEmpty = false
    /// Nanoseconds of the decision that the scheduler itself took; 0 when it did not run.
    package var schedulingTime: UInt64 = 0
    /// Nanoseconds that Apus worked on the frames of the response, the model server's time between them not counted.
    package var responseProcessingTime: UInt64 = 0

    let telemetry: Telemetry
    let wallNanoseconds: UInt64
    /// Set when the request was counted as running, with the metrics that it was counted in.
    var series: RequestSeries?
    var isFinished = false

    init(telemetry: Telemetry, receivedAt: UInt64, wallNanoseconds: UInt64) {
        self.telemetry = telemetry
        self.receivedAt = receivedAt
        self.wallNanoseconds = wallNanoseconds
    }

    deinit {
        if !isFinished { telemetry.report(self) }
    }

    var labels: RequestLabels {
        RequestLabels(model: model, targetModel: targetModel, fairnessID: fairnessID, priority: priority)
    }

    /// Nanoseconds from the end of the body to the decision, without those of waiting for a server's word on the tokens and to be let in; nil before the decision.
    var decisionTime: UInt64? {
        time(from: bodyCompleteAt, to: decidedAt).map { $0 - min($0, queueTime + tokenTime) }
    }

    /// Nanoseconds from one phase to a later one; nil when either was not reached.
    func time(from start: UInt64, to end: UInt64) -> UInt64? {
        start > 0 && end >= start ? end - start : nil
    }
}
