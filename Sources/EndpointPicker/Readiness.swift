private import Bytes
package import Pool
package import RPC

/// What gRPC health says: SERVING for every name once the endpoints are known and until the drain; `liveness` always.
package final class Readiness: Sendable {
    private struct State {
        var isStarted = false
        var isSynced = false
        var isDraining = false
    }

    /// To be served.
    package let health = HealthService(answersAnyService: true)
    private let state = Lock(State())

    /// Follows the pool. NOT_SERVING until `start`.
    package init(_ pool: Pool) {
        health.set(service: "liveness", .serving)
        update { _ in }
        pool.whenSynced { [weak self] in self?.update { $0.isSynced = true } }
    }

    /// The ports are open and scraping has begun.
    package func start() {
        update { $0.isStarted = true }
    }

    /// From now on NOT_SERVING, for good.
    package func drain() {
        update { $0.isDraining = true }
    }

    package var isDraining: Bool { state.withLock { $0.isDraining } }

    private func update(_ change: (inout State) -> Void) {
        state.withLock { state in
            change(&state)
            let isServing = state.isStarted && state.isSynced && !state.isDraining
            for name in ["", "readiness", ExternalProcessor.serviceName] {
                health.set(service: name, isServing ? .serving : .notServing)
            }
        }
    }
}
