import Bytes
import Glibc

/// Lets all engines' time pass: the program's first thread sleeps until the next of them has something to do.
///
/// Signals do the waking: SIGUSR1 when an engine is due earlier than was known, SIGTERM and SIGINT to end the program.
final class Timekeeper: Sendable {
    private struct State {
        /// By engine: when it is due, in nanoseconds of the monotonic clock.
        var due: [UInt64]
        var wakes = UInt64.max
    }

    /// Steps that fall into so many nanoseconds are made together.
    private static let grain: UInt64 = 250_000

    private let state: Lock<State>
    private let thread = pthread_self()

    init(engines: Int) {
        state = Lock(State(due: [UInt64](repeating: .max, count: engines)))
        var signals = Self.signals
        // Threads that are started from now on inherit this: the signals wait for `run`.
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Any thread may say when an engine is due next; nil when it is idle.
    func schedule(_ engine: Int, at time: MonotonicTime?) {
        let due = time.map { ($0.nanoseconds / Self.grain + 1) * Self.grain } ?? .max
        let mustWake = state.withLock { state in
            state.due[engine] = due
            guard due < state.wakes else { return false }
            state.wakes = due
            return true
        }
        if mustWake { pthread_kill(thread, SIGUSR1) }
    }

    /// Calls `advance` with each engine that is due, until the program is told to end. On the thread that made the timekeeper.
    func run(_ advance: (Int) -> Void) {
        var signals = Self.signals
        while true {
            let now = MonotonicTime.now().nanoseconds
            let engines = state.withLock { state in
                let engines = state.due.indices.filter { state.due[$0] <= now }
                for engine in engines { state.due[engine] = .max }
                // Nobody needs to wake a thread that looks again before it sleeps.
                state.wakes = 0
                return engines
            }
            for engine in engines { advance(engine) }
            let wakes = state.withLock { state in
                state.wakes = state.due.min() ?? .max
                return state.wakes
            }
            let wait = wakes - min(MonotonicTime.now().nanoseconds, wakes)
            var timeout = timespec(
                tv_sec: Int(clamping: min(wait, 3_600_000_000_000) / 1_000_000_000),
                tv_nsec: Int(wait % 1_000_000_000)
            )
            let signal = sigtimedwait(&signals, nil, &timeout)
            if signal == SIGTERM || signal == SIGINT { return }
        }
    }

    private static var signals: sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT, SIGUSR1] { sigaddset(&signals, signal) }
        return signals
    }
}
