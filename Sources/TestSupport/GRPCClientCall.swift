import Bytes
import CGRPC

/// One call of a `GRPCClient`. One `send` (or `halfClose`) and one `receive` at a time.
package final class GRPCClientCall: @unchecked Sendable {
    // Sendable: `slots` is written by core while an operation is under way and read after its event; the rest is behind
    // `state`'s lock.

    enum Operation: UInt { case start, send, receive, halfClose, status }

    private struct State {
        var pending = 0
        var status: GRPCCallStatus?
        var isReleased = false
        var waiters: [UnsafeContinuation<Void, Never>] = []
        var sending: UnsafeContinuation<Bool, Never>?
        var receiving: UnsafeContinuation<Bool, Never>?
    }

    private let client: GRPCClient
    private let slots: UnsafeMutablePointer<apus_client_slots>
    private let state = Lock(State())

    init(client: GRPCClient, core: OpaquePointer) {
        self.client = client
        slots = apus_client_slots_create(core)
    }

    deinit {
        apus_client_slots_destroy(slots)
    }

    // MARK: For tests

    /// Sends one message; false when the call is over. `moreFollows` lets core keep it back for the next.
    @discardableResult
    package func send(_ bytes: [UInt8], moreFollows: Bool = false) async -> Bool {
        await withUnsafeContinuation { continuation in
            guard begin({ $0.sending = continuation }) else { return continuation.resume(returning: false) }
            let slice = bytes.withUnsafeBytes { grpc_slice_from_copied_buffer($0.baseAddress, $0.count) }
            slots.pointee.sent = apus_message_create(slice)
            started(apus_client_send_message(slots, moreFollows, tag(.send)), .send)
        }
    }

    /// The server's next message; nil when it has sent all it will.
    package func receive() async -> [UInt8]? {
        let hasCome = await withUnsafeContinuation { continuation in
            guard begin({ $0.receiving = continuation }) else { return continuation.resume(returning: false) }
            started(apus_client_receive_message(slots, tag(.receive)), .receive)
        }
        guard hasCome, let buffer = slots.pointee.received else { return nil }
        slots.pointee.received = nil
        var slice = apus_message_slice(buffer)
        defer { grpc_slice_unref(slice) }
        return Array(UnsafeRawBufferPointer(start: apus_slice_start(&slice), count: apus_slice_length(&slice)))
    }

    /// Tells the server that no message follows.
    package func halfClose() async {
        _ = await withUnsafeContinuation { continuation in
            guard begin({ $0.sending = continuation }) else { return continuation.resume(returning: false) }
            started(apus_client_half_close(slots, tag(.halfClose)), .halfClose)
        }
    }

    /// Ends the call at once; the server sees a reset.
    package func cancel() {
        state.withLock { state in
            if !state.isReleased { grpc_call_cancel(slots.pointee.call, nil) }
        }
    }

    /// Waits for the end of the call.
    package func status() async -> GRPCCallStatus {
        await withUnsafeContinuation { continuation in
            let isOver = state.withLock { state in
                if state.status != nil { return true }
                state.waiters.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
        return state.withLock { $0.status } ?? GRPCCallStatus(code: 2, message: "no status")
    }

    // MARK: Life

    func start(isOpen: Bool, metadata: [String: String]) {
        guard isOpen else {
            state.withLock { state in
                state.status = GRPCCallStatus(code: 1, message: "the client was shut down")
                state.isReleased = true
            }
            grpc_call_unref(slots.pointee.call)
            return
        }
        // Both are counted before the first event can release the call.
        state.withLock { $0.pending += 2 }
        started(apus_client_receive_status(slots, tag(.status)), .status)
        var list = metadata.map { name, value in
            var entry = grpc_metadata()
            entry.key = grpc_slice_from_copied_string(name)
            entry.value = grpc_slice_from_copied_string(value)
            return entry
        }
        started(apus_client_start(slots, &list, list.count, tag(.start)), .start)
        for entry in list {
            grpc_slice_unref(entry.key)
            grpc_slice_unref(entry.value)
        }
    }

    /// Counts an operation, unless the call is over.
    private func begin(_ note: (inout State) -> Void) -> Bool {
        state.withLock { state in
            if state.status != nil || state.isReleased { return false }
            state.pending += 1
            note(&state)
            return true
        }
    }

    /// Each operation under way holds a reference, which its event gives back.
    private func tag(_ operation: Operation) -> UnsafeMutableRawPointer {
        client.handOver()
        return Unmanaged.passRetained(self).toOpaque() + Int(operation.rawValue)
    }

    private func started(_ error: grpc_call_error, _ operation: Operation) {
        guard error != GRPC_CALL_OK else { return }
        Unmanaged.passUnretained(self).release()
        complete(operation, success: false)
    }

    func complete(_ operation: Operation, success: Bool) {
        if operation == .send, let buffer = slots.pointee.sent {
            slots.pointee.sent = nil
            grpc_byte_buffer_destroy(buffer)
        }
        var waiters: [UnsafeContinuation<Void, Never>] = []
        var single: UnsafeContinuation<Bool, Never>?
        let isOver = state.withLock { state in
            state.pending -= 1
            switch operation {
            case .start: break
            case .send, .halfClose: swap(&single, &state.sending)
            case .receive: swap(&single, &state.receiving)
            case .status:
                let text = UnsafeRawBufferPointer(
                    start: apus_slice_start(&slots.pointee.status_details),
                    count: apus_slice_length(&slots.pointee.status_details)
                )
                state.status = GRPCCallStatus(
                    code: Int(slots.pointee.status.rawValue),
                    message: String(decoding: text, as: UTF8.self)
                )
                swap(&waiters, &state.waiters)
            }
            guard state.status != nil, state.pending == 0, !state.isReleased else { return false }
            state.isReleased = true
            return true
        }
        if isOver {
            grpc_call_unref(slots.pointee.call)
            client.forget(self)
        }
        single?.resume(returning: success)
        for waiter in waiters { waiter.resume() }
    }
}
