internal import Bytes
private import CMicroHTTPD
private import Glibc

/// Tells exchanges whose connection waits for an answer that their client has gone.
///
/// libmicrohttpd does not look at a suspended connection's socket, so a second epoll set does. One thread for the process, started by
/// the first watch; a server that never suspends a connection never starts it.
final class DisconnectWatcher: Sendable {
    static let shared = DisconnectWatcher()

    private let epoll: Int32
    private let exchanges = Lock<[Int: Exchange]>([:])

    private init() {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { return }
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // The watcher lives as long as the process, so the thread may hold it unretained.
        let context = Unmanaged.passUnretained(self).toOpaque()
        pthread_create(
            &thread,
            &attributes,
            { context in
                guard let context else { return nil }
                Unmanaged<DisconnectWatcher>.fromOpaque(context).takeUnretainedValue().run()
                return nil
            },
            context
        )
        pthread_attr_destroy(&attributes)
    }

    /// Calls `exchange.cancel()` once when the peer of `descriptor` closes or resets. Ends with `forget`.
    func watch(_ exchange: Exchange, descriptor: Int32) {
        exchanges.withLock { $0[exchange.number] = exchange }
        var event = epoll_event()
        event.events = EPOLLRDHUP.rawValue | EPOLLONESHOT.rawValue
        event.data.u64 = UInt64(exchange.number)
        epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)
    }

    /// To be called before the descriptor is closed or used for the next request.
    func forget(_ exchange: Exchange, descriptor: Int32) {
        exchanges.withLock { _ = $0.removeValue(forKey: exchange.number) }
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
    }

    private func run() {
        // Signals are the program's, not this thread's.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(epoll, &events, Int32(events.count), -1)
            guard count >= 0 || errno == EINTR else { return }
            for event in events.prefix(Int(max(count, 0))) {
                let number = Int(event.data.u64)
                let exchange = exchanges.withLock { $0.removeValue(forKey: number) }
                exchange?.cancel()
            }
        }
    }
}
