internal import Pool

/// What the outcome of a prefill or encode leg means for its request.
enum LegVerdict {
    case success(LegAnswer)
    /// Another endpoint may do better.
    case elsewhere(outcome: String, isInternalError: Bool)
    /// The request itself is wrong, in the engine's words.
    case refused(LegAnswer)
    /// It was not sent: there was no room for it; at any endpoint, if `isOverall`.
    case noPermit(isOverall: Bool)
    case cancelled

    init(_ result: Result<LegAnswer, LegFailure>) {
        switch result {
        case .success(let answer):
            switch answer.status {
            case 200: self = .success(answer)
            // A timeout and a full queue say nothing of the request.
            case 408, 429, 500...599:
                self = .elsewhere(outcome: "http_\(answer.status)", isInternalError: answer.status == 500)
            case 400..<500: self = .refused(answer)
            default: self = .elsewhere(outcome: LegFailure.Code.badResponse.rawValue, isInternalError: false)
            }
        case .failure(let failure):
            switch failure.code {
            case .noPermit: self = .noPermit(isOverall: failure.isOverall)
            case .cancelled: self = .cancelled
            default: self = .elsewhere(outcome: failure.code.rawValue, isInternalError: false)
            }
        }
    }

    static let okOutcome = "ok"
    /// The request ended before the leg.
    static let unfinishedOutcome = "unfinished"

    var isSuccess: Bool {
        if case .success = self { true } else { false }
    }

    /// The outcome as it is reported.
    var outcome: String {
        switch self {
        case .success: Self.okOutcome
        case .elsewhere(let outcome, _): outcome
        case .refused(let answer): "http_\(answer.status)"
        case .noPermit: LegFailure.Code.noPermit.rawValue
        case .cancelled: LegFailure.Code.cancelled.rawValue
        }
    }
}

extension Result where Success == LegAnswer, Failure == LegFailure {
    var seconds: Double {
        switch self {
        case .success(let answer): answer.seconds
        case .failure(let failure): failure.seconds
        }
    }

    /// Whether it tells of the two endpoints of a pair rather than of one alone: that was reached, and neither the request nor its load was
    /// the matter.
    var speaksAgainstPair: Bool {
        switch self {
        case .success(let answer): answer.status == 200 || (answer.status >= 500 && answer.status != 503)
        case .failure(let failure): failure.speaksAgainstPair
        }
    }

    /// Whether the breaker of the endpoint takes it for a failure; nil when it says nothing of the endpoint.
    var breakerFailure: Bool? {
        switch self {
        case .success: false
        case .failure(let failure):
            switch failure.code {
            case .cancelled, .noPermit: nil
            default: failure.countsForBreaker
            }
        }
    }
}

extension LegFailure {
    var speaksAgainstPair: Bool {
        switch code {
        case .cancelled, .noPermit: false
        case .timeout: true
        default: mayHaveArrived && !countsForBreaker
        }
    }
}
