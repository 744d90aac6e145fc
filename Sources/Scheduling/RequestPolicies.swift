/// What a configuration wants beside its profiles.
package struct RequestPolicies: Sendable {
    package var inFlightLoad = InFlightLoad()
    /// Policies that learn from decisions; each once.
    package var observers: [any DecisionObserver] = []
    /// Response headers that name the picked endpoint, for the client to send back with its next request.
    package var sessionTokens: [SessionToken] = []
    /// Whether responses say which endpoint served them (`destination-endpoint-served-verifier`).
    package var reportsServedEndpoint = false

    package init() {}

    /// Lets the policies go on with what those of an earlier configuration have learnt.
    package func takeOver(from earlier: RequestPolicies) {
        for observer in observers {
            for before in earlier.observers { observer.takeOver(from: before) }
        }
    }

    /// The headers that the response to a request carries.
    package func responseHeaders(_ result: SchedulingResult) -> [(name: String, value: String)] {
        sessionTokens.compactMap { token in
            let picked = token.profile.map { result.result(of: $0)?.endpoint } ?? result.endpoint
            return picked.map { (token.header, SessionToken.value(for: $0)) }
        }
    }
}
