package import Bytes
internal import CCurl
internal import Glibc
internal import Synchronization

/// Called once on the client's thread with the response's head and body, or with why there is none. The body is lent for the call only. It must
/// not block: every other request waits for it.
package typealias HTTPCompletion = @Sendable (Result<HTTPResponseHead, HTTPClientError>, RawSpan) -> Void

/// An HTTP/1.1 client over one libcurl multi handle on a thread of its own, with kept connections.
///
/// `http://`, and `https://` with `HTTPRequest.trust`; no redirects, no proxy, no signals. A request that is cancelled closes its connection, so
/// that the server notices. A kept connection that ends before the first line of a response is replaced and the request sent again, once: servers
/// end kept connections whenever they like, and mostly before they have seen the request. One that died while it worked on it has seen it, so
/// what must not be done twice says so with `HTTPRequest.maySendAgain`.
package final class HTTPClient: Sendable {
    private let loop: EventLoop
    private let thread: Lock<pthread_t?>
    private let lastNumber = Atomic<UInt64>(0)

    private static let globalSetUp: Void = {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
    }()

    /// - Parameter threadName: what the system calls the thread; at most 15 bytes.
    package init(threadName: StaticString = "apus-http") {
        Self.globalSetUp
        loop = EventLoop(threadName: threadName)
        thread = Lock(Self.startThread(loop))
    }

    deinit {
        shutdown()
    }

    // MARK: Requests

    /// Sends the request and returns the whole response, whatever its status. Cancelling the task ends the request.
    package func send(_ request: HTTPRequest) async throws(HTTPClientError) -> HTTPResponse {
        let handle = newHandle()
        let result: Result<HTTPResponse, HTTPClientError> = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let receiver = ResponseReceiver.lending { result, body in
                    continuation.resume(returning: result.map { HTTPResponse(head: $0, body: body.copied()) })
                }
                start(PendingRequest(handle: handle, request: request, receiver: receiver))
            }
        } onCancel: {
            handle.cancel()
        }
        return try result.get()
    }

    /// The same with the body as it was received, without a copy of a long one.
    package func fetch(
        _ request: HTTPRequest
    ) async throws(HTTPClientError) -> (head: HTTPResponseHead, body: SharedBytes) {
        let handle = newHandle()
        let result = await withTaskCancellationHandler {
            await withUnsafeContinuation {
                (continuation: UnsafeContinuation<Result<(HTTPResponseHead, SharedBytes), HTTPClientError>, Never>) in
                let receiver = ResponseReceiver.giving { continuation.resume(returning: $0) }
                start(PendingRequest(handle: handle, request: request, receiver: receiver))
            }
        } onCancel: {
            handle.cancel()
        }
        let (head, body) = try result.get()
        return (head, body)
    }

    /// Sends the request and returns once the head of the response is there, whatever its status. Cancelling the task ends the request.
    package func open(
        _ request: HTTPRequest,
        limits: HTTPStreamLimits = HTTPStreamLimits()
    ) async throws(HTTPClientError) -> HTTPStream {
        let handle = newHandle()
        let buffer = StreamBuffer(limits)
        start(PendingRequest(handle: handle, request: request, receiver: .streaming(buffer)))
        return HTTPStream(try await buffer.head(handle), buffer, handle)
    }

    /// Starts the request; `onCompletion` is called once, never from within this call unless the client is shut down.
    @discardableResult
    package func start(_ request: HTTPRequest, onCompletion: @escaping HTTPCompletion) -> HTTPTransfer {
        let handle = newHandle()
        start(PendingRequest(handle: handle, request: request, receiver: .lending(onCompletion)))
        return handle
    }

    private func newHandle() -> HTTPTransfer {
        HTTPTransfer(number: lastNumber.add(1, ordering: .relaxed).newValue, loop: loop)
    }

    private func start(_ pending: PendingRequest) {
        if !loop.submit(.start(pending)) { pending.fail(.shutDown) }
    }

    // MARK: Work on the client's thread

    /// Runs `action` on the client's thread; at once when called there. False when the client is shut down.
    @discardableResult
    package func perform(_ action: @escaping @Sendable () -> Void) -> Bool {
        loop.submit(.run(action))
    }

    /// Like `perform`, and waits until the action has run.
    @discardableResult
    package func performAndWait(_ action: @escaping @Sendable () -> Void) -> Bool {
        if loop.isCurrent {
            action()
            return true
        }
        let done = Signal()
        let isAccepted = perform {
            action()
            done.set()
        }
        if isAccepted { done.wait() }
        return isAccepted
    }

    /// Runs `action` on the client's thread at that time or up to a millisecond after it; never when the client is shut down before.
    package func schedule(at time: MonotonicTime, _ action: @escaping @Sendable () -> Void) {
        _ = loop.submit(.schedule(time, action))
    }

    // MARK: The end

    /// Ends the thread. Requests in flight, and later ones, complete with `shutDown`. Waits for the thread, unless called on it.
    package func shutdown() {
        guard let thread = thread.withLock({ exchange(&$0, with: nil) }) else { return }
        _ = loop.submit(.shutDown)
        if loop.isCurrent { pthread_detach(thread) } else { pthread_join(thread, nil) }
    }

    private static func startThread(_ loop: EventLoop) -> pthread_t? {
        // The program's signals are not this thread's business.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(loop)
        let code = pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<EventLoop>.fromOpaque(context).takeRetainedValue().run() }
                return nil
            },
            context.toOpaque()
        )
        guard code == 0 else {
            context.release()
            loop.refuseAll()
            return nil
        }
        return thread
    }
}

/// A request under way.
package final class HTTPTransfer: Sendable {
    let number: UInt64
    private let loop: EventLoop
    private let cancelled = Atomic<Bool>(false)

    init(number: UInt64, loop: EventLoop) {
        self.number = number
        self.loop = loop
    }

    var isCancelled: Bool { cancelled.load(ordering: .acquiring) }

    /// Takes more of a streamed response.
    func resume() {
        _ = loop.submit(.resume(number))
    }

    /// Ends a streamed response at that time.
    func end(at time: MonotonicTime) {
        _ = loop.submit(.end(number, at: time))
    }

    /// Ends the request with `cancelled` and closes its connection; nothing once it has ended.
    package func cancel() {
        // The flag is for a request whose start the loop has not seen yet, the command for one it has.
        cancelled.store(true, ordering: .releasing)
        _ = loop.submit(.cancel(number))
    }
}

extension HTTPClientError {
    static let cancelled = HTTPClientError(.cancelled, "cancelled")
    static let shutDown = HTTPClientError(.shutDown, "the client is shut down")
}

/// A one-time event that a thread can wait for.
private final class Signal: Sendable {
    private let descriptor = apus_eventfd()

    func set() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    func wait() {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, -1) < 0, errno == EINTR {}
    }

    deinit {
        close(descriptor)
    }
}
