import Bytes
import EngineSimulation
import HTTPServer

/// A request that the engine works on, and where its answer goes.
struct ActiveRequest: Sendable {
    enum Sink: Sendable {
        case stream(HTTPBodyStream)
        case whole(HTTPLaterReply)
    }

    let format: ResponseFormat
    let request: GenerationRequest
    let sink: Sink
    let tokens: [Tokenizer.Token]
    let maxTokens: Int
    let reason: EngineFinishReason
    let logNumber: Int
    let headers: [HTTPHeader]
    let arrived: MonotonicTime
    let requestBytes: Int
    var usage: Usage
    var answerBytes = 0
}

extension ActiveRequest {
    /// The whole answer.
    var text: String { tokens.map(\.text).joined() }
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
