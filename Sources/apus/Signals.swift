internal import Glibc

/// The signals that end the service, turned into a stream. Blocked in every thread, so `block()` must run before the first is started.
enum Signals {
    private static var ending: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }

    /// Blocks the signals in this thread and all that it starts, and ignores SIGPIPE: a peer that hangs up is an error of a write, not ours.
    static func block() {
        var set = ending
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Every SIGTERM and SIGINT from now on, read by a thread of its own.
    static func stream() -> AsyncStream<Int32> {
        AsyncStream { continuation in
            let thread = Unmanaged.passRetained(Box(continuation)).toOpaque()
            var id = pthread_t()
            let status = pthread_create(
                &id,
                nil,
                { argument in
                    guard let argument else { return nil }
                    let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                    var set = Signals.ending
                    var signal: Int32 = 0
                    while sigwait(&set, &signal) == 0 { box.continuation.yield(signal) }
                    return nil
                },
                thread
            )
            if status != 0 { continuation.finish() }
        }
    }

    private final class Box: Sendable {
        let continuation: AsyncStream<Int32>.Continuation

        init(_ continuation: AsyncStream<Int32>.Continuation) {
            self.continuation = continuation
        }
    }

    /// Lets the process hold as many sockets as the system allows it, up to 65536: every endpoint and every gateway connection takes one.
    static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = min(limit.rlim_max, max(limit.rlim_cur, 65_536))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
