internal import Bytes

/// What of a streamed response has come and is not read yet: written by the loop's thread, read by one task.
final class StreamBuffer: Sendable {
    enum Taken {
        /// `isPaused`: the loop waits to be told that there is room again.
        case bytes([UInt8], isPaused: Bool)
        case nothing
        case ended
        case failed(HTTPClientError)
    }

    private struct State {
        var head: HTTPResponseHead?
        var bytes: [UInt8] = []
        var isPaused = false
        var end: Result<[HTTPField], HTTPClientError>?
        var reader: UnsafeContinuation<Void, Never>?

        /// Whether a reader that waits has something to look at.
        mutating func wake() -> UnsafeContinuation<Void, Never>? {
            exchange(&reader, with: nil)
        }
    }

    let limits: HTTPStreamLimits
    private let state = Lock(State())

    init(_ limits: HTTPStreamLimits) {
        self.limits = limits
    }

    // MARK: The loop's side

    func begin(_ head: HTTPResponseHead) {
        let reader = state.withLock { state in
            state.head = head
            return state.wake()
        }
        reader?.resume()
    }

    /// False when there is no room for them: they must be brought again once the reader has made some.
    func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let (isTaken, reader) = state.withLock { state -> (Bool, UnsafeContinuation<Void, Never>?) in
            // What was cancelled goes nowhere.
            guard state.end == nil else { return (true, nil) }
            guard state.bytes.isEmpty || bytes.count <= limits.window - state.bytes.count else {
                state.isPaused = true
                return (false, nil)
            }
            state.bytes.append(contentsOf: bytes)
            return (true, state.wake())
        }
        reader?.resume()
        return isTaken
    }

    /// The first end counts.
    func finish(_ end: Result<[HTTPField], HTTPClientError>) {
        let reader = state.withLock { state in
            if state.end == nil { state.end = end }
            return state.wake()
        }
        reader?.resume()
    }

    // MARK: The reader's side

    /// The head, once it is there. Cancelling the task ends the response.
    func head(_ transfer: HTTPTransfer) async throws(HTTPClientError) -> HTTPResponseHead {
        while true {
            let found = state.withLock { state -> Result<HTTPResponseHead, HTTPClientError>? in
                // A response that failed behind its head still has one.
                if let head = state.head { return .success(head) }
                return state.end.map { end in
                    if case .failure(let error) = end { .failure(error) } else { .failure(.cancelled) }
                }
            }
            if let found { return try found.get() }
            await wait(transfer) { $0.head != nil }
        }
    }

    /// What has come of the body, once there is any.
    func next(_ transfer: HTTPTransfer) async -> Taken {
        while true {
            let taken = take()
            guard case .nothing = taken else { return taken }
            await wait(transfer) { !$0.bytes.isEmpty }
        }
    }

    private func take() -> Taken {
        state.withLock { state in
            guard state.bytes.isEmpty else {
                let isPaused = exchange(&state.isPaused, with: false)
                return .bytes(exchange(&state.bytes, with: []), isPaused: isPaused)
            }
            return switch state.end {
            case .success: .ended
            case .failure(let error): .failed(error)
            case nil: .nothing
            }
        }
    }

    /// Returns when the condition holds or the response has ended. A second reader ends it: two would each see half of the body.
    private func wait(_ transfer: HTTPTransfer, until isMet: @Sendable (borrowing State) -> Bool) async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (reader: UnsafeContinuation<Void, Never>) in
                let (isSecond, waits) = state.withLock { state in
                    let isSecond = state.reader != nil && state.end == nil
                    if isSecond { state.end = .failure(HTTPClientError(.failed, "two readers of one response")) }
                    if state.end != nil || isMet(state) { return (isSecond, false) }
                    state.reader = reader
                    return (false, true)
                }
                if isSecond { transfer.cancel() }
                if !waits { reader.resume() }
            }
        } onCancel: {
            if cancel() { transfer.cancel() }
        }
    }

    /// Whether the transfer must be ended. What was not read is dropped.
    func cancel() -> Bool {
        let (isUnderWay, reader) = state.withLock { state -> (Bool, UnsafeContinuation<Void, Never>?) in
            let isUnderWay = state.end == nil
            // A body of which some was dropped has no clean end.
            if isUnderWay || !state.bytes.isEmpty { state.end = .failure(.cancelled) }
            state.bytes = []
            return (isUnderWay, state.wake())
        }
        reader?.resume()
        return isUnderWay
    }

    var trailers: [HTTPField] {
        state.withLock { state in
            if case .success(let trailers)? = state.end { trailers } else { [] }
        }
    }
}
