import Bytes
import CGRPC
import Glibc

/// The pollers of a process, to be shared by its servers.
///
/// Core reads the sockets of all completion queues on whichever thread happens to poll, and wakes the one whose event it
/// is. A second server with pollers of its own, even an idle one, so costs two context switches per request and a third
/// more CPU: give all servers of a process the same `Pollers`, no more of them than there are free cores.
package final class Pollers: @unchecked Sendable {
    // Sendable: `threads` is written by `init` and read by the one `destroy`; the rest is constant or behind the lock.

    private struct State: ~Copyable {
        var servers = 0
        var runningThreads = 0
        var mustClose = false
        var isClosed = false
        var isDestroyed = false
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    let all: [Poller]
    private var threads: [pthread_t] = []
    private let state = Lock(State())

    /// Starts `count` threads (at least one). Throws `resourceExhausted` when the system gives none.
    package init(count: Int) throws(RPCError) {
        all = (0..<max(1, count)).map { _ in Poller() }
        for (index, poller) in all.enumerated() {
            state.withLock { $0.runningThreads += 1 }
            do throws(RPCError) {
                threads.append(try poller.start(name: "poller-\(index)") { self.threadHasEnded() })
            } catch {
                for poller in all { poller.close() }
                for poller in all[index...] { poller.drainWithoutThread() }
                destroy()
                throw error
            }
        }
    }

    // MARK: Servers

    /// A server will use the queues; false when it is too late for that.
    func addServer() -> Bool {
        state.withLock { state in
            if state.mustClose { return false }
            state.servers += 1
            return true
        }
    }

    /// The server is destroyed and will start no operation any more.
    func removeServer() {
        let mayClose = state.withLock { state in
            state.servers -= 1
            return Self.mayClose(&state)
        }
        if mayClose { close() }
    }

    // MARK: Shutdown

    /// Waits until the last server has been shut down, ends the threads and destroys the queues. May be called more than
    /// once; not by a task that runs on one of the pollers.
    package func shutdown() async {
        let mayClose = state.withLock { state in
            state.mustClose = true
            return Self.mayClose(&state)
        }
        if mayClose { close() }
        await withUnsafeContinuation { continuation in
            let isOver = state.withLock { state in
                if state.runningThreads == 0 { return true }
                state.waiters.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
        destroy()
    }

    /// As `shutdown`, when no server has ever been started on them.
    func shutdownUnused() {
        close()
        destroy()
    }

    private static func mayClose(_ state: inout State) -> Bool {
        guard state.mustClose, state.servers == 0, !state.isClosed else { return false }
        state.isClosed = true
        return true
    }

    private func close() {
        for poller in all { poller.close() }
    }

    private func threadHasEnded() {
        let waiters: [UnsafeContinuation<Void, Never>] = state.withLock { state in
            state.runningThreads -= 1
            guard state.runningThreads == 0 else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private func destroy() {
        let isFirst = state.withLock { state in
            defer { state.isDestroyed = true }
            return !state.isDestroyed
        }
        guard isFirst else { return }
        for thread in threads { pthread_join(thread, nil) }
        for poller in all { poller.destroy() }
    }
}
