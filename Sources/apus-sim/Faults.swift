/// An answer that the simulator gives instead of a real one.
enum FailureType: String, CaseIterable, Sendable {
    case rateLimit = "rate_limit"
    case invalidAPIKey = "invalid_api_key"
    case contextLength = "context_length"
    case serverError = "server_error"
    case invalidRequest = "invalid_request"
    case modelNotFound = "model_not_found"

    var status: Int {
        switch self {
        case .rateLimit: 429
        case .invalidAPIKey: 401
        case .contextLength, .invalidRequest: 400
        case .serverError: 503
        case .modelNotFound: 404
        }
    }
}

/// What goes wrong on purpose. Set by flags and by `POST /admin/config`.
struct Faults: Sendable {
    /// Of 100 requests, so many fail.
    var failureInjectionRate = 0
    /// Which failures; none named: all.
    var failureTypes: [FailureType] = []
    /// Inference requests are taken and never answered.
    var hangs = false
    /// The connection of an inference request is closed without an answer.
    var drops = false
    /// Streams are cut after so many tokens.
    var cutAfterTokens: Int?
    var metricsStatus = 200
    /// Scrapes are taken and never answered.
    var metricsHang = false
    var healthStatus = 200

    /// The failure of the next request, if it is to fail.
    func failure(_ random: inout some RandomNumberGenerator) -> FailureType? {
        guard failureInjectionRate > 0, Int.random(in: 0..<100, using: &random) < failureInjectionRate else {
            return nil
        }
        return (failureTypes.isEmpty ? FailureType.allCases : failureTypes).randomElement(using: &random)
    }
}
