internal import Bytes
private import Synchronization

/// Is told when the pool's load changes. Called on whatever thread changed it, after the change and outside of all locks of the pool.
package protocol PoolObserver: AnyObject, Sendable {
    /// A reservation was made on the endpoint, or given back.
    func loadChanged(of endpoint: Endpoint)
    /// There is a new snapshot.
    func snapshotPublished()
}

/// Who is told; shared by a pool and its endpoints.
final class PoolWatch: Sendable {
    private struct Seat {
        weak var observer: (any PoolObserver)?
    }

    private let isTaken = Atomic(false)
    private let seat = Lock(Seat())

    func set(_ observer: any PoolObserver) {
        seat.withLock { $0.observer = observer }
        isTaken.store(true, ordering: .releasing)
    }

    func loadChanged(of endpoint: Endpoint) {
        guard isTaken.load(ordering: .acquiring) else { return }
        seat.withLock { $0.observer }?.loadChanged(of: endpoint)
    }

    func snapshotPublished() {
        guard isTaken.load(ordering: .acquiring) else { return }
        seat.withLock { $0.observer }?.snapshotPublished()
    }
}
