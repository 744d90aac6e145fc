/// A request's load on an endpoint, held from the decision until the request has ended.
///
/// It cannot be copied and gives the load back exactly once: by `release()`, or when it is dropped on any way out.
package struct Reservation: ~Copyable, Sendable {
    package let endpoint: Endpoint
    package let tokens: Int
    private let number: UInt64

    init(endpoint: Endpoint, tokens: Int, number: UInt64) {
        self.endpoint = endpoint
        self.tokens = tokens
        self.number = number
    }

    deinit {
        endpoint.load.remove(number: number, tokens: tokens)
        endpoint.watch.loadChanged(of: endpoint)
    }

    package consuming func release() {}
}
