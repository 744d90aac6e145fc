internal import Bytes

/// The promise of an answer: completed once, by any thread; the connection is suspended meanwhile.
package final class HTTPLaterReply: Sendable {
    private struct State: ~Copyable {
        var answer: HTTPReply?
        var isTaken = false
        var isCancelled = false
        var suspended: SuspendedConnection?
        var onDisconnect: (@Sendable () -> Void)?

        mutating func wake() {
            suspended.take()?.resume()
        }
    }

    private let state = Lock(State())

    package init() {}

    /// Answers. Only the first of `complete` and `drop` counts.
    package func complete(_ response: HTTPResponse) {
        answer(.response(response))
    }

    /// Closes the connection without an answer.
    package func drop() {
        answer(.drop)
    }

    /// Sets what is called, once and on a thread of the server, when the connection ends before it was answered.
    package func onDisconnect(_ action: @escaping @Sendable () -> Void) {
        state.withLock { $0.onDisconnect = action }
    }

    private func answer(_ reply: HTTPReply) {
        state.withLock { state in
            guard state.answer == nil else { return }
            state.answer = reply
            state.wake()
        }
    }

    // MARK: The server's side

    /// The answer when there is one (`drop` when the client has gone); else suspends the connection. Only on the server's thread.
    func take(for connection: OpaquePointer) -> HTTPReply? {
        state.withLock { state in
            if state.isCancelled { return .drop }
            if let answer = state.answer {
                state.isTaken = true
                return answer
            }
            state.suspended = SuspendedConnection(suspending: connection)
            return nil
        }
    }

    /// The connection must end now: the client has gone, or the server stops.
    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            state.wake()
        }
    }

    /// The connection has ended.
    func ended() {
        let action = state.withLock { state in
            state.isCancelled = true
            state.suspended = nil
            let action = state.isTaken || state.answer != nil ? nil : state.onDisconnect
            state.onDisconnect = nil
            return action
        }
        action?()
    }
}
