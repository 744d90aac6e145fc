import Bytes
import EngineSimulation
import HTTPServer

/// A request that has been taken, and where its answer goes.
struct ActiveRequest: Sendable {
    enum Sink: Sendable {
        case stream(HTTPBodyStream)
        case whole(HTTPLaterReply)
    }

    /// What the request has at a prefill engine until it has the KV or gives it up.
    struct Source: Sendable {
        let peer: SideChannel.Address
        let key: String
        /// Next heartbeat.
        var heartbeat: Int?
        /// Whether it waits for a prefill that may still run.
        var isMeeting = false
    }

    let number: Int
    let requestID: String
    let format: ResponseFormat
    let request: GenerationRequest
    let sink: Sink
    let tokens: [Tokenizer.Token]
    let maxTokens: Int
    let reason: EngineFinishReason
    let isAdapter: Bool
    let headers: [HTTPHeader]
    let arrived: MonotonicTime
    let requestBytes: Int
    let plan: KVPlan
    var fault: FaultRule?
    var socket: RawSocket?
    var usage: Usage
    var externalTokens = 0
    var answerBytes = 0
    /// Its name in the engine, while the engine has it.
    var engineID: EngineRequestID?
    var source: Source?
    /// Ends a wait.
    var deadline: Int?
    /// Of a finished prefill: the answer that is given when its decode has come.
    var parkedAnswer: String?
    /// Of a stream that is not sent as it is made.
    var held = ""
}

extension ActiveRequest {
    /// The whole answer.
    var text: String { tokens.map(\.text).joined() }

    /// Whether a stream is made whole before any of it is sent.
    var holdsStream: Bool {
        if case .announce(_, answerWaits: true) = plan.action { return true }
        return fault?.kind == .slow
    }

    var engineRequest: EngineRequest {
        EngineRequest(
            promptTokens: request.prompts.flatMap { $0 },
            outputTokens: tokens.map(\.number),
            finishReason: reason,
            adapter: isAdapter ? request.model : nil,
            cacheSalt: request.cacheSalt,
            externalTokens: externalTokens,
            keepsBlocks: plan.keepsBlocks
        )
    }
}

extension ServerMetrics {
    /// An answer that has been given, for the counters of the web framework.
    mutating func answered(_ active: ActiveRequest, seconds: Double) {
        observe(.httpDuration, seconds)
        switch active.request.api {
        case .completions:
            completionsRequests += 1
            completionsRequestBytes += active.requestBytes
            completionsResponseBytes += active.answerBytes
            observe(.httpCompletionsDuration, seconds)
        case .chat:
            chatRequests += 1
            chatRequestBytes += active.requestBytes
            chatResponseBytes += active.answerBytes
            observe(.httpChatDuration, seconds)
        default: break
        }
    }
}
