package import Bytes

/// What a streamed response may take: `HTTPRequest.timeout` and `HTTPRequest.maxResponseBytes` are not looked at.
package struct HTTPStreamLimits: Sendable, Equatable {
    /// From the start of the request to the end of the response's head.
    package var headTimeout: Duration
    /// Without a byte of the body; the time in which the reader is behind does not count. Nil: for ever.
    package var idleTimeout: Duration?
    /// From the start of the request to the last byte of the response. Nil: for ever.
    package var timeout: Duration?
    /// The longest body taken. Nil: any.
    package var maxResponseBytes: Int?
    /// Bytes kept for a reader that is behind; then nothing more is taken from the socket until all of them have been read, so that TCP makes the
    /// server wait. At least one piece of libcurl's (16 KiB) is taken. libcurl may hold one read of the socket (64 KiB) besides.
    package var window: Int

    package init(
        headTimeout: Duration = .seconds(30),
        idleTimeout: Duration? = .seconds(60),
        timeout: Duration? = nil,
        maxResponseBytes: Int? = nil,
        window: Int = 256 << 10
    ) {
        self.headTimeout = headTimeout
        self.idleTimeout = idleTimeout
        self.timeout = timeout
        self.maxResponseBytes = maxResponseBytes
        self.window = window
    }
}

/// A response on its way in, read piece by piece by one task at a time.
///
/// Letting go of it before its end closes the connection, so that the server notices.
package final class HTTPStream: Sendable {
    package let head: HTTPResponseHead
    private let buffer: StreamBuffer
    private let transfer: HTTPTransfer

    init(_ head: HTTPResponseHead, _ buffer: StreamBuffer, _ transfer: HTTPTransfer) {
        self.head = head
        self.buffer = buffer
        self.transfer = transfer
    }

    deinit {
        cancel()
    }

    /// What has come of the body since the last call, at least one byte; waits for it. Nil at the end of a body that is whole.
    ///
    /// Throws, after all that came before: `truncated` when the connection ended within the body, `timeout`, `tooLarge`, `cancelled`. Cancelling
    /// the task ends the response.
    package func next() async throws(HTTPClientError) -> [UInt8]? {
        if Task.isCancelled { cancel() }
        switch await buffer.next(transfer) {
        case .bytes(let bytes, let isPaused):
            if isPaused { transfer.resume() }
            return bytes
        case .failed(let error): throw error
        case .ended, .nothing: return nil
        }
    }

    /// The rest of the body, as much as fits `limit`; what is longer is cut, and the response ended.
    package func collect(upTo limit: Int) async throws(HTTPClientError) -> (bytes: [UInt8], isCut: Bool) {
        var collected: [UInt8] = []
        while let bytes = try await next() {
            guard bytes.count <= limit - collected.count else {
                cancel()
                collected += bytes.prefix(limit - collected.count)
                return (collected, true)
            }
            if collected.isEmpty { collected = bytes } else { collected += bytes }
        }
        return (collected, false)
    }

    /// Ends the response and closes its connection; nothing once it has ended.
    package func cancel() {
        if buffer.cancel() { transfer.cancel() }
    }

    /// Ends the response at that time, `timeout` or not.
    package func end(at time: MonotonicTime) {
        transfer.end(at: time)
    }

    /// The fields behind the body; known once `next` has returned nil.
    package var trailers: [HTTPField] { buffer.trailers }
}
