import Bytes
import Foundation
import Glibc

/// Waits for many sockets on one thread with `poll`, so that hundreds of test connections need no thread each.
final class SocketReactor: Sendable {
    static let shared = SocketReactor()

    enum Readiness: Sendable {
        case readable, writable

        fileprivate var events: Int16 { Int16(self == .readable ? POLLIN : POLLOUT) }
    }

    private struct Waiter {
        let socket: Int32
        let readiness: Readiness
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var next = 0
        var waiters: [Int: Waiter] = [:]
    }

    private let state = Lock(State())
    private let wakeReader: Int32
    private let wakeWriter: Int32

    private init() {
        var ends: [Int32] = [-1, -1]
        _ = pipe(&ends)
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (wakeReader, wakeWriter) = (ends[0], ends[1])
        Thread.detachNewThread { [self] in run() }
    }

    /// Returns once the socket can be read or written, or is broken, which the next call on it tells. The socket must stay
    /// open meanwhile.
    func wait(_ socket: Int32, for readiness: Readiness, until deadline: ContinuousClock.Instant) async throws {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                state.withLock { state in
                    if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                    state.waiters[number] = Waiter(
                        socket: socket,
                        readiness: readiness,
                        deadline: deadline,
                        continuation: continuation
                    )
                }
                wake()
            }
        } onCancel: {
            let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
            waiter?.continuation.resume(throwing: CancellationError())
            wake()
        }
    }

    private func wake() {
        var byte: UInt8 = 1
        _ = write(wakeWriter, &byte, 1)
    }

    private func run() {
        while true {
            let waiters = state.withLock { Array($0.waiters) }
            var polled = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0)]
            polled += waiters.map { pollfd(fd: $0.value.socket, events: $0.value.readiness.events, revents: 0) }
            let now = ContinuousClock.now
            let pause = waiters.map { now.duration(to: $0.value.deadline) }.min() ?? .seconds(3600)
            let milliseconds = Int32(clamping: Int64(pause / .milliseconds(1)) + 1)
            poll(&polled, nfds_t(polled.count), max(0, milliseconds))
            var bytes = [UInt8](repeating: 0, count: 256)
            while read(wakeReader, &bytes, bytes.count) == bytes.count {}
            let after = ContinuousClock.now
            for ((number, waiter), result) in zip(waiters, polled.dropFirst()) {
                let expired = after >= waiter.deadline
                guard result.revents != 0 || expired else { continue }
                guard let waiter = state.withLock({ $0.waiters.removeValue(forKey: number) }) else { continue }
                if result.revents != 0 {
                    waiter.continuation.resume()
                } else {
                    waiter.continuation.resume(throwing: TestFailure("nothing happened on a connection in time"))
                }
            }
        }
    }
}
