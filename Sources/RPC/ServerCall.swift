import Bytes
import CGRPC

/// Answers one call: reads and writes its messages and returns the status that ends it.
///
/// It runs on its call's poller and must return soon after its task was cancelled: a call lives until it does.
package typealias Handler = @Sendable (ServerCall) async -> RPCStatus

/// One call (stream) as its handler sees it.
///
/// At most one `receive` and one `send` may be under way at a time, from any thread; the two do not disturb each other.
/// When the peer cancels, its deadline passes or its connection breaks, the handler's task is cancelled and every later
/// operation throws `cancelled`.
package final class ServerCall: @unchecked Sendable {
    // Sendable: `slots` is written by core while an operation is under way and read by whoever `state` says has
    // finished it; all else is constant or behind `state`'s lock.

    private struct State: ~Copyable {
        enum Receiving { case idle, underWay, finished(success: Bool) }

        /// Batches whose event has not come. The call may be released only at 0.
        var pending = 0
        var receiving = Receiving.idle
        var receiver: UnsafeContinuation<Void, Never>?
        var isSending = false
        var sender: UnsafeContinuation<Void, Never>?
        var hasSentInitialMetadata = false
        /// The last send failed: nothing will reach the peer any more.
        var isBroken = false
        /// Core has told that the call is over for the peer; `isCancelled` says whether that was too early.
        var isClosed = false
        var isCancelled = false
        /// The handler is done; no operation may start any more.
        var isFinished = false
        /// The status that waits for the last message to pass.
        var heldStatus: RPCStatus?
        var isReleased = false
        var isInterrupted = false
        var task: Task<Void, Never>?

        mutating func takeInterruption() -> Bool {
            defer { isInterrupted = false }
            return isInterrupted
        }
    }

    private let slots: UnsafeMutablePointer<apus_server_slots>
    private let server: Server
    private let poller: Poller
    private let state = Lock(State())

    init(server: Server, poller: Poller) {
        self.server = server
        self.poller = poller
        slots = apus_server_slots_create()
    }

    deinit {
        apus_server_slots_destroy(slots)
    }

    // MARK: What the peer said first

    /// The full path, e.g. `/grpc.health.v1.Health/Check`.
    package var method: String {
        String(decoding: methodBytes, as: UTF8.self)
    }

    private var methodBytes: UnsafeRawBufferPointer {
        var length = 0
        let start = apus_server_method(slots, &length)
        return UnsafeRawBufferPointer(start: start, count: length)
    }

    /// The peer's address as core writes it, e.g. `ipv4:127.0.0.1:40312`; empty when the call is over.
    package var peer: String {
        state.withLock { state in
            guard !state.isReleased, let text = grpc_call_get_peer(slots.pointee.call) else { return "" }
            defer { gpr_free(text) }
            return String(cString: text)
        }
    }

    /// The first value of the metadata with this name (lower case); nil without one, or when the call is over.
    package func metadata(_ name: StaticString) -> String? {
        state.withLock { state in
            guard !state.isReleased else { return nil }
            var length = 0
            let start = apus_server_metadata(slots, name.utf8Start, name.utf8CodeUnitCount, &length)
            return start.map { String(decoding: UnsafeBufferPointer(start: $0, count: length), as: UTF8.self) }
        }
    }

    /// Whether the call ended before its handler did: cancelled by the peer, late, or cut off.
    package var isCancelled: Bool {
        state.withLock { $0.isCancelled }
    }

    // MARK: Receiving

    /// The peer's next message; nil when it has sent all it will (half-close).
    ///
    /// Throws `cancelled` when the call is over. A task that is cancelled while its call goes on keeps waiting: only `peerHasFinished`
    /// heeds that.
    package func receive() async throws(RPCError) -> Message? {
        // The handler's own task is cancelled with its call and by nothing else, so no cancellation has to be listened for.
        if try beginReceive() { await waitForReceived(heedsInterruption: true) }
        return try endReceive()
    }

    /// - Parameters:
    ///   - heedsInterruption: do not begin to wait after an interruption, which may have come since the receive began.
    ///   - heedsTask: do not begin to wait in a task that is cancelled.
    private func waitForReceived(heedsInterruption: Bool = false, heedsTask: Bool = false) async {
        await withUnsafeContinuation { continuation in
            let isOver = state.withLock { state in
                if case .finished = state.receiving { return true }
                if state.isCancelled || heedsTask && Task.isCancelled { return true }
                if heedsInterruption && state.isInterrupted { return true }
                state.receiver = continuation
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    /// Waits for the next thing to receive, and takes nothing: true when the peer is done or gone, false when a message came (the next
    /// `receive` returns it) or the task was cancelled. Counts as a `receive` while it waits. An interruption is left to the next `receive`.
    package func peerHasFinished() async -> Bool {
        while true {
            do {
                if try beginReceive(isInterruptible: false) {
                    await withTaskCancellationHandler {
                        await waitForReceived(heedsTask: true)
                    } onCancel: {
                        state.withLock { $0.receiver.take() }?.resume()
                    }
                }
            } catch {
                return true
            }
            let answer: Bool? = state.withLock { state in
                if state.isCancelled { return true }
                guard case .finished(let success) = state.receiving else { return nil }
                return !success || slots.pointee.received == nil
            }
            if let answer { return answer }
            if Task.isCancelled { return false }
        }
    }

    /// Makes the `receive` under way, or the next one, throw `interrupted`; no message is lost by it. From any thread.
    package func interrupt() {
        state.withLock { state in
            state.isInterrupted = true
            return state.receiver.take()
        }?.resume()
    }

    /// Posts the operation unless one is under way; true when its event has to be waited for.
    private func beginReceive(isInterruptible: Bool = true) throws(RPCError) -> Bool {
        enum Step { case take, wait, post, refuse(RPCError) }
        let step: Step = state.withLock { state in
            if state.receiver != nil { return .refuse(RPCError(code: .internal, message: "two receives at a time")) }
            if state.isFinished || state.isCancelled { return .refuse(Self.cancelled) }
            if isInterruptible, state.takeInterruption() { return .refuse(Self.interrupted) }
            switch state.receiving {
            case .finished: return .take
            case .underWay: return .wait
            case .idle:
                state.receiving = .underWay
                state.pending += 1
                return .post
            }
        }
        switch step {
        case .take: return false
        case .wait: return true
        case .refuse(let error): throw error
        case .post:
            if apus_server_receive_message(slots, tag(.receive)) != GRPC_CALL_OK {
                complete(.receive, success: false)
            }
            return true
        }
    }

    private func endReceive() throws(RPCError) -> Message? {
        if state.withLock({ !$0.isCancelled && $0.takeInterruption() }) { throw Self.interrupted }
        nonisolated(unsafe) var buffer: UnsafeMutablePointer<grpc_byte_buffer>?
        let isGood = state.withLock { state in
            guard !state.isCancelled, !state.isFinished, case .finished(success: true) = state.receiving else {
                return false
            }
            buffer = slots.pointee.received.take()
            // Without a message the peer is done (half-close), and there is nothing more to ask for.
            if buffer != nil { state.receiving = .idle }
            return true
        }
        guard isGood else { throw Self.cancelled }
        guard let buffer else { return nil }
        return Message(buffer)
    }

    // MARK: Sending

    /// Sends one message of `byteCount` bytes, which `fill` writes straight into the transport's buffer.
    ///
    /// Returns when core has taken the message; a second send waits until the first has passed flow control, so at most
    /// one message is buffered. `moreFollows` lets core keep it back until the next message or the status, so that both
    /// leave in one write (not the call's first message: core would never report it sent). Throws `cancelled` when the call is over: nothing can reach the peer any more.
    package func send(
        byteCount: Int,
        moreFollows: Bool = false,
        _ fill: (UnsafeMutableRawBufferPointer) -> Void
    ) async throws(RPCError) {
        while try !beginSend() {
            await withTaskCancellationHandler {
                await withUnsafeContinuation { continuation in
                    let isOver = state.withLock { state in
                        if !state.isSending || state.isCancelled || Task.isCancelled { return true }
                        state.sender = continuation
                        return false
                    }
                    if isOver { continuation.resume() }
                }
            } onCancel: {
                state.withLock { $0.sender.take() }?.resume()
            }
            if Task.isCancelled { throw Self.cancelled }
        }

        var slice = grpc_slice_malloc(byteCount)
        withUnsafeMutablePointer(to: &slice) { slice in
            fill(UnsafeMutableRawBufferPointer(start: apus_slice_start(slice), count: byteCount))
        }
        slots.pointee.sent = apus_message_create(slice)
        let isFirst = state.withLock { state in
            defer { state.hasSentInitialMetadata = true }
            return !state.hasSentInitialMetadata
        }
        // A batch with the initial metadata completes only when written, and a message kept back is not.
        if apus_server_send_message(slots, isFirst, moreFollows && !isFirst, tag(.send)) != GRPC_CALL_OK {
            complete(.send, success: false)
        }
    }

    /// Takes the right to send; false when the message before is still on its way.
    private func beginSend() throws(RPCError) -> Bool {
        let result: Result<Bool, RPCError> = state.withLock { state in
            if state.sender != nil { return .failure(RPCError(code: .internal, message: "two sends at a time")) }
            if state.isFinished || state.isCancelled || state.isBroken { return .failure(Self.cancelled) }
            if state.isSending { return .success(false) }
            state.isSending = true
            state.pending += 1
            return .success(true)
        }
        return try result.get()
    }

    /// What `interrupt` makes a `receive` throw.
    package static let interrupted = RPCError(code: .aborted, message: "interrupted")
    private static let cancelled = RPCError(code: .cancelled, message: "the call is over")

    // MARK: Life

    /// Waits for a call to arrive. From here to the release the object is retained, and core's server is kept.
    func request() {
        server.retainCore()
        poller.handOver()
        let tag = Tag.make(Unmanaged.passRetained(self).toOpaque(), .request)
        if apus_server_request_call(server.core, slots, poller.queue, tag) != GRPC_CALL_OK {
            forget()
        }
    }

    /// Gives back what `request` took. The object may be gone afterwards.
    private func forget() {
        let server = server
        Unmanaged.passUnretained(self).release()
        server.releaseCore()
    }

    /// An operation came back. Runs on the poller's thread (or, for one that could not start, on the starter's).
    func complete(_ kind: Tag.Kind, success: Bool) {
        switch kind {
        case .request: arrived(success)
        case .receive: received(success)
        case .send: sent(success)
        case .close: closed()
        case .status: releaseIfOver { _ in }
        case .doorbell, .shutdown: break
        }
    }

    private func arrived(_ success: Bool) {
        guard success else {
            // The server is shutting down: no call came.
            return forget()
        }
        server.requestCall(on: poller)
        state.withLock { $0.pending += 1 }
        if apus_server_receive_close(slots, tag(.close)) != GRPC_CALL_OK {
            closed()
        }
        let isWithinCap = server.countStream()
        guard let handler = server.handler(for: methodBytes) else {
            return finish(RPCStatus(code: .unimplemented, message: "unknown method \(method)"))
        }
        guard isWithinCap else {
            return finish(RPCStatus(code: .resourceExhausted, message: "too many concurrent streams"))
        }
        // The task waits in this thread's run queue, so it cannot end before it is stored.
        let task = Task(executorPreference: poller) { [self] in
            finish(await handler(self))
        }
        state.withLock { $0.task = task }
    }

    private func received(_ success: Bool) {
        // Core calls it a success also when the call was cancelled or its connection broke.
        let isHalfCloseOrBytes =
            success && (slots.pointee.received != nil || grpc_call_failed_before_recv_message(slots.pointee.call) == 0)
        let receiver = releaseIfOver { state in
            state.receiving = .finished(success: isHalfCloseOrBytes)
            // Core's notice of it may come later; nobody should see the error and not the reason.
            if !isHalfCloseOrBytes, !state.isFinished { state.isCancelled = true }
            return state.receiver.take()
        }
        receiver?.resume()
    }

    private func sent(_ success: Bool) {
        if let buffer = slots.pointee.sent.take() {
            grpc_byte_buffer_destroy(buffer)
        }
        var held: RPCStatus?
        let sender = releaseIfOver { state in
            state.isSending = false
            if !success { state.isBroken = true }
            if let status = state.heldStatus.take() {
                held = status
                state.pending += 1
            }
            return state.sender.take()
        }
        sender?.resume()
        if let held { post(held) }
    }

    private func closed() {
        let wasCancelled = slots.pointee.cancelled != 0
        let (task, receiver, sender) = releaseIfOver { state in
            state.isClosed = true
            guard wasCancelled, !state.isFinished else {
                return (nil as Task<Void, Never>?, state.receiver.take(), state.sender.take())
            }
            state.isCancelled = true
            return (state.task, state.receiver.take(), state.sender.take())
        }
        task?.cancel()
        receiver?.resume()
        sender?.resume()
    }

    /// Ends the call with a status, after the message that may still be on its way.
    private func finish(_ status: RPCStatus) {
        let mayPost = state.withLock { state in
            if state.isFinished { return false }
            state.isFinished = true
            state.task = nil
            if state.isSending {
                state.heldStatus = status
                return false
            }
            state.pending += 1
            return true
        }
        if mayPost { post(status) }
    }

    private func post(_ status: RPCStatus) {
        let isFirst = state.withLock { state in
            defer { state.hasSentInitialMetadata = true }
            return !state.hasSentInitialMetadata
        }
        var text = status.message
        let error = text.withUTF8 { text in
            text.withMemoryRebound(to: CChar.self) { text in
                apus_server_send_status(
                    slots,
                    isFirst,
                    status.code.rawValue,
                    text.baseAddress,
                    text.count,
                    tag(.status)
                )
            }
        }
        if error != GRPC_CALL_OK { complete(.status, success: false) }
    }

    /// One operation has come back: notes it with `update`, and releases the call when it was the last.
    private func releaseIfOver<R>(_ update: (inout State) -> sending R) -> R {
        let (result, isOver) = state.withLock { state in
            state.pending -= 1
            let result = update(&state)
            let isOver = state.isFinished && state.pending == 0
            if isOver { state.isReleased = true }
            return (result, isOver)
        }
        if isOver { release() }
        return result
    }

    private func release() {
        if let buffer = slots.pointee.received.take() {
            grpc_byte_buffer_destroy(buffer)
        }
        grpc_call_unref(slots.pointee.call)
        server.uncountStream()
        forget()
    }

    private func tag(_ kind: Tag.Kind) -> UnsafeMutableRawPointer {
        Tag.make(Unmanaged.passUnretained(self).toOpaque(), kind)
    }
}
