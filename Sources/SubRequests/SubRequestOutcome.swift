package import Bytes

/// How a sub-request ended.
package enum SubRequestOutcome: Sendable {
    /// A whole answer of status 200 to 299.
    case ok(SubRequestResponse)
    case failed(SubRequestFailure)
}

/// How a sub-request whose answer is streamed began.
package enum SubRequestOpening: Sendable {
    /// The head of an answer of status 200 to 299 is there.
    case open(SubRequestStream)
    case failed(SubRequestFailure)
}

/// A whole answer.
package struct SubRequestResponse: Sendable {
    package let head: HTTPResponseHead
    package let body: SharedBytes

    package init(head: HTTPResponseHead, body: SharedBytes) {
        self.head = head
        self.body = body
    }

    package var status: Int { head.status }
    /// Whether `body` is only the beginning.
    package var isCut: Bool { head.isCut }
}

/// Why a sub-request came to nothing.
package struct SubRequestFailure: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// No connection: nobody there, nobody answers, nobody whom we trust, or no means to ask.
        case connectFailed
        /// The connection ended before the answer did.
        case reset
        case timeout
        /// An answer of another status than 200 to 299.
        case http(Int)
        /// What came is no HTTP.
        case badResponse
        case tooLarge
        /// The caller has given it up, or the program ends.
        case cancelled
        case noPermit
        /// Nothing was sent, since no server should get such a request: its header fields are too long, or its path is none.
        case refused
    }

    package let code: Code
    /// For logs.
    package let message: String
    /// Whether at least one byte of an answer came.
    package var responseStarted = false
    /// Whether no connection could be made, for reasons on the other side. Nothing was sent.
    package var isConnectFailure = false
    /// Whether the time for all sub-requests is over, not that of this one alone.
    package var isDeadline = false
    /// Which permit was missing.
    package var missingPermit: NoPermit?
    /// Of `http`: the answer. That of a 4xx is as whole as a success would be.
    package var response: SubRequestResponse?
    /// From its start, in seconds.
    package var seconds = 0.0

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// For metrics and decision records.
    package var label: String {
        switch code {
        case .connectFailed: "connect_failed"
        case .reset: "reset"
        case .timeout: "timeout"
        case .http(let status): "http_\(status)"
        case .badResponse: "bad_response"
        case .tooLarge: "too_large"
        case .cancelled: "cancelled"
        case .noPermit: "no_permit"
        case .refused: "refused"
        }
    }

    /// Whether an endpoint's breaker should count it: refused, unreachable, timed out, or ended before any byte. Not when the time for all
    /// sub-requests was over before this one had its own.
    package var countsForBreaker: Bool {
        switch code {
        case .connectFailed: isConnectFailure && !isDeadline
        case .timeout: !isDeadline
        case .reset: !responseStarted
        default: false
        }
    }

    /// The answer's `retry-after` as it came.
    package var retryAfter: String? { response?.head["retry-after"] }

    package var description: String { "\(label): \(message)" }
}

extension SubRequestFailure {
    /// - Parameter isLastMoment: whether the request's time was what all sub-requests together had left.
    init(_ error: HTTPClientError, isLastMoment: Bool, seconds: Double) {
        let code: Code =
            switch error.code {
            case .refused, .unreachable, .unresolved, .connectTimeout, .untrusted, .handshake: .connectFailed
            case .badTrust, .failed: error.responseStarted ? .reset : .connectFailed
            case .timeout: .timeout
            case .reset, .truncated: .reset
            case .tooLarge: .tooLarge
            case .badResponse: .badResponse
            case .badRequest: .refused
            case .cancelled, .shutDown: .cancelled
            }
        self.init(code, error.description)
        responseStarted = error.responseStarted
        isConnectFailure = error.isConnectFailure
        isDeadline = isLastMoment && (error.code == .timeout || error.code == .connectTimeout)
        self.seconds = seconds
    }
}
