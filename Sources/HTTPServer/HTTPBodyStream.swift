internal import Bytes

/// The body of a streamed answer: written by any thread, sent by the server's.
///
/// Bytes wait in memory until the client takes them: a writer that can outrun its client looks at `bufferedBytes`.
package final class HTTPBodyStream: Sendable {
    private struct State: ~Copyable {
        var buffer: [UInt8] = []
        var sent = 0
        var isFinished = false
        /// To be broken off once everything is sent.
        var isCut = false
        /// Aborted by the writer, or the connection has ended.
        var isBroken = false
        /// The connection, while it sleeps because there is nothing to send.
        var suspended: SuspendedConnection?
        var onDisconnect: (@Sendable () -> Void)?

        mutating func wake() {
            suspended.take()?.resume()
        }
    }

    private let state = Lock(State())

    package init() {}

    /// Adds bytes to the body.
    ///
    /// - Returns: false when the stream has ended already: the client has gone, or `finish`, `cut` or `abort` was called.
    @discardableResult
    package func write(_ bytes: some Collection<UInt8>) -> Bool {
        state.withLock { state in
            guard !state.isFinished, !state.isBroken, !state.isCut else { return false }
            state.buffer.append(contentsOf: bytes)
            state.wake()
            return true
        }
    }

    /// Ends the body as it should end, after what is written.
    package func finish() {
        state.withLock { state in
            state.isFinished = true
            state.wake()
        }
    }

    /// Cuts the connection in the middle of the body; what is not sent yet is lost.
    package func abort() {
        state.withLock { state in
            state.isBroken = true
            state.wake()
        }
    }

    /// Sends what is written, then cuts the connection as `abort` does.
    package func cut() {
        state.withLock { state in
            state.isCut = true
            state.wake()
        }
    }

    /// Written, but not yet taken by the connection.
    package var bufferedBytes: Int {
        state.withLock { $0.buffer.count - $0.sent }
    }

    /// Sets what is called, once and on a thread of the server, when the connection ends before `finish` was called.
    package func onDisconnect(_ action: @escaping @Sendable () -> Void) {
        state.withLock { $0.onDisconnect = action }
    }

    // MARK: The server's side

    enum Read {
        case bytes(Int)
        /// The connection is suspended until there is more.
        case nothingYet
        case end
        case broken
    }

    /// Moves what is written into `target`, or suspends the connection. Only on the server's thread.
    func read(into target: UnsafeMutableRawBufferPointer, for connection: OpaquePointer) -> Read {
        state.withLock { state in
            if state.isBroken { return .broken }
            let waiting = state.buffer.count - state.sent
            guard waiting > 0 else {
                if state.isCut { return .broken }
                if state.isFinished { return .end }
                state.suspended = SuspendedConnection(suspending: connection)
                return .nothingYet
            }
            let count = min(waiting, target.count)
            target.copyBytes(from: state.buffer[state.sent..<state.sent + count])
            state.sent += count
            if state.sent == state.buffer.count {
                state.buffer.removeAll(keepingCapacity: state.buffer.capacity <= 65_536)
                state.sent = 0
            }
            return .bytes(count)
        }
    }

    /// The connection must end now: the client has gone, or the server stops.
    func cancel() {
        abort()
    }

    /// The connection has ended.
    func ended() {
        let action = state.withLock { state in
            state.isBroken = true
            state.suspended = nil
            let action = state.isFinished ? nil : state.onDisconnect
            state.onDisconnect = nil
            return action
        }
        action?()
    }
}
