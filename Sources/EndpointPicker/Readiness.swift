private import Bytes
package import Pool
package import RPC

/// What gRPC health says: SERVING for every name once the endpoints are known and until the drain; `liveness` always. With an elected leader only
/// the names that are meant, and SERVING for the leader alone.
package final class Readiness: Sendable {
    /// Why a picker that could serve must not be asked.
    package enum Hold: String, Sendable {
        case standby = "another replica leads"
        case poolMissing = "there is no such pool"
    }

    private struct State {
        var isStarted = false
        var isSynced = false
        var isDraining = false
        var holds: Set<Hold> = []
    }

    /// To be served.
    package let health: HealthService
    private let state = Lock(State())

    /// Follows the pool. NOT_SERVING until `start`.
    ///
    /// - Parameter isElected: whether a leader is elected, so that health is asked for by name.
    package init(_ pool: Pool, isElected: Bool = false) {
        health = HealthService(answersAnyService: !isElected)
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

    /// NOT_SERVING until it is cleared.
    package func set(_ hold: Hold) {
        update { $0.holds.insert(hold) }
    }

    package func clear(_ hold: Hold) {
        update { $0.holds.remove(hold) }
    }

    package var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Why not to be asked, or nil.
    package var obstacle: String? {
        state.withLock { state in
            if state.isDraining { return "draining" }
            if let hold = state.holds.min(by: { $0.rawValue < $1.rawValue }) { return hold.rawValue }
            return state.isSynced ? nil : "the endpoints are not known yet"
        }
    }

    private func update(_ change: (inout State) -> Void) {
        state.withLock { state in
            change(&state)
            let isServing = state.isStarted && state.isSynced && !state.isDraining && state.holds.isEmpty
            for name in ["", "readiness", ExternalProcessor.serviceName] {
                health.set(service: name, isServing ? .serving : .notServing)
            }
        }
    }
}
