internal import Bytes

/// Tells of changes at most once a second, and then of the latest: a pod that flaps must not fill the log.
final class ChangeLog: Sendable {
    private struct State {
        var count = 0
        var changes = 0
        /// Whether a second must pass first.
        var isWaiting = false
    }

    private let state = Lock(State())
    private let tell: @Sendable (_ count: Int, _ changes: Int) -> Void

    /// - Parameter tell: gets how many there are now, and how many changes led there since the last call.
    init(_ tell: @escaping @Sendable (_ count: Int, _ changes: Int) -> Void) {
        self.tell = tell
    }

    func note(_ count: Int) {
        let isFirst = state.withLock { state in
            state.count = count
            state.changes += 1
            guard !state.isWaiting else { return false }
            state.isWaiting = true
            return true
        }
        guard isFirst else { return }
        tellNow()
        Task {
            repeat { try? await Task.sleep(for: .seconds(1)) } while tellNow()
        }
    }

    /// False when there was nothing to tell, which ends the waiting.
    @discardableResult
    private func tellNow() -> Bool {
        let news = state.withLock { state -> (count: Int, changes: Int)? in
            guard state.changes > 0 else {
                state.isWaiting = false
                return nil
            }
            defer { state.changes = 0 }
            return (state.count, state.changes)
        }
        guard let news else { return false }
        tell(news.count, news.changes)
        return true
    }
}
