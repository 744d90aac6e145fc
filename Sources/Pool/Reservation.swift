/// A request's load on an endpoint, held from the decision until the request has ended.
///
/// It cannot be copied and gives the load back exactly once: by `release()`, or when it is dropped on any way out.
package struct Reservation: ~Copyable, Sendable {
    package let endpoint: Endpoint
    /// Tokens that the request was estimated to cost.
    package let tokens: Int
    private let number: UInt64
    /// Those of `tokens` that still count as in flight.
    private var countedTokens: Int
    /// Whether it is given back when the request ends.
    private var isObserved = true

    init(endpoint: Endpoint, tokens: Int, number: UInt64) {
        self.endpoint = endpoint
        self.tokens = tokens
        countedTokens = tokens
        self.number = number
    }

    deinit {
        endpoint.load.remove(number: number, tokens: tokens, counted: countedTokens, hasEnded: isObserved)
        endpoint.watch.loadChanged(of: endpoint)
    }

    /// The tokens have been computed: they are in flight no more. The request still is, and its memory stays in use.
    package mutating func releaseTokens() {
        endpoint.load.removeCounted(countedTokens, number: number)
        countedTokens = 0
        endpoint.watch.loadChanged(of: endpoint)
    }

    package consuming func release() {}

    /// Nobody will tell when the request ends.
    mutating func loseSight() { isObserved = false }
}
