internal import Glibc
private import Synchronization

/// The signals that end the service: counted, and the first one awaited.
final class EndingSignals: Sendable {
    private let count = Atomic<Int>(0)
    private let first: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    private init() {
        (first, continuation) = AsyncStream.makeStream(of: Void.self)
    }

    /// How many came so far.
    var received: Int { count.load(ordering: .relaxed) }

    /// Returns when the first has come.
    func waitForFirst() async {
        for await _ in first { return }
    }

    /// Blocks the signals in this thread and all that it starts, and reads them on a thread of its own. To be called before any other thread
    /// starts: one that does not block them would be ended by them.
    ///
    /// SIGPIPE is ignored: a peer that hangs up is an error of a write, not ours.
    static func receive() -> EndingSignals {
        var set = ending
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
        let signals = EndingSignals()
        var thread = pthread_t()
        // The thread lives as long as the process, and so does what it holds.
        let argument = Unmanaged.passRetained(signals).toOpaque()
        pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let signals = Unmanaged<EndingSignals>.fromOpaque(argument).takeUnretainedValue()
                var set = EndingSignals.ending
                var number: Int32 = 0
                while sigwait(&set, &number) == 0 {
                    signals.count.add(1, ordering: .relaxed)
                    signals.continuation.yield()
                }
                return nil
            },
            argument
        )
        return signals
    }

    private static var ending: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }
}

enum Descriptors {
    /// Lets the process hold as many sockets as the system allows it, up to 65536: every endpoint and every gateway connection takes one.
    static func raiseLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = min(limit.rlim_max, max(limit.rlim_cur, 65_536))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
