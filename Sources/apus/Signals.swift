internal import Glibc
private import Synchronization

/// The signals that end the service: counted, and the first one awaited.
///
/// They are taken by a handler. Waiting for blocked ones would not do: once the main thread is handed over to libdispatch, it lets all signals
/// through, whatever was blocked before.
final class EndingSignals: Sendable {
    /// Where the handler, which may do little more than that, writes a byte for each signal.
    private static let handlerEnd = Atomic<Int32>(-1)

    private let readerEnd: Int32
    private let count = Atomic<Int>(0)
    private let first: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    private init(readerEnd: Int32) {
        self.readerEnd = readerEnd
        (first, continuation) = AsyncStream.makeStream(of: Void.self)
    }

    /// How many came so far.
    var received: Int { count.load(ordering: .relaxed) }

    /// Returns when the first has come.
    func waitForFirst() async {
        for await _ in first { return }
    }

    /// Takes the signals from now on. To be called once.
    ///
    /// SIGPIPE is ignored: a peer that hangs up is an error of a write, not ours.
    static func receive() -> EndingSignals {
        var ends: [Int32] = [-1, -1]
        pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        handlerEnd.store(ends[1], ordering: .releasing)
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGTERM, SIGINT] {
            signal(number) { _ in
                let error = errno
                var one: UInt8 = 1
                write(EndingSignals.handlerEnd.load(ordering: .acquiring), &one, 1)
                errno = error
            }
        }
        let signals = EndingSignals(readerEnd: ends[0])
        var thread = pthread_t()
        // The thread lives as long as the process, and so does what it holds.
        let argument = Unmanaged.passRetained(signals).toOpaque()
        pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<EndingSignals>.fromOpaque(argument).takeUnretainedValue().readArrivals()
                return nil
            },
            argument
        )
        return signals
    }

    private func readArrivals() {
        var byte: UInt8 = 0
        while true {
            let result = read(readerEnd, &byte, 1)
            if result == 1 {
                count.add(1, ordering: .relaxed)
                continuation.yield()
            } else if result == 0 || errno != EINTR {
                return
            }
        }
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
