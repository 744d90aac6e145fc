import CEpoll
import Glibc

/// epoll and one timer: what a thread waits for that serves many sockets.
final class EventQueue {
    /// Readable, writable or ended.
    struct Event {
        /// What `watch` was given.
        let key: Int
        let flags: UInt32

        var isReadable: Bool { flags & (EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 }
        var isWritable: Bool { flags & EPOLLOUT.rawValue != 0 }
    }

    private static let timerKey = -1

    private let descriptor: Int32
    private let timer: Int32
    private var ready = [epoll_event](repeating: epoll_event(), count: 256)

    init() throws {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        timer = apus_timer_create()
        guard descriptor >= 0, timer >= 0 else { throw BenchError("cannot wait for sockets: \(errorText())") }
        try watch(timer, key: Self.timerKey)
    }

    deinit {
        close(timer)
        close(descriptor)
    }

    /// Tells when `socket` is readable from now on, and with `writable` also when it takes more.
    func watch(_ socket: Int32, key: Int, writable: Bool = false) throws {
        try control(EPOLL_CTL_ADD, socket, key: key, writable: writable)
    }

    /// Changes what is told of a socket that is watched.
    func change(_ socket: Int32, key: Int, writable: Bool) throws {
        try control(EPOLL_CTL_MOD, socket, key: key, writable: writable)
    }

    private func control(_ operation: Int32, _ socket: Int32, key: Int, writable: Bool) throws {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | (writable ? EPOLLOUT.rawValue : 0)
        event.data.u64 = UInt64(bitPattern: Int64(key))
        guard epoll_ctl(descriptor, operation, socket, &event) == 0 else {
            throw BenchError("cannot watch a socket: \(errorText())")
        }
    }

    /// Lets the next `wait` that is still waiting then return at `time`, which is in seconds of the monotonic clock; exact, unlike
    /// a time-out. nil lets it wait for sockets alone.
    func setTimer(at time: Double?) {
        _ = apus_timer_set(timer, time.map { UInt64(max(1, $0 * 1e9)) } ?? 0)
    }

    /// Waits for sockets or the timer; returns after `milliseconds` at the latest (-1: never).
    func wait(milliseconds: Int32, _ body: (Event) throws -> Void) rethrows {
        let count = epoll_wait(descriptor, &ready, Int32(ready.count), milliseconds)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let event = Event(
                key: Int(Int64(bitPattern: ready[index].data.u64)),
                flags: ready[index].events
            )
            if event.key == Self.timerKey {
                var expirations: UInt64 = 0
                _ = read(timer, &expirations, 8)
            } else {
                try body(event)
            }
        }
    }
}

/// What `errno` says.
func errorText() -> String {
    String(cString: strerror(errno))
}
