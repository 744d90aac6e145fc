import Bytes
import Glibc

/// Lets all engines' time pass: one thread sleeps until the next of them has something to do.
///
/// Thread rule behind `@unchecked Sendable`: `due`, `wakes` and `isStopped` are touched under the mutex only.
final class Timekeeper: @unchecked Sendable {
    /// Steps that fall into so many nanoseconds are made together.
    private static let grain: UInt64 = 250_000

    /// By engine: when it is due, in nanoseconds of the monotonic clock.
    private var due: [UInt64]
    /// When the thread looks again.
    private var wakes: UInt64 = 0
    private var isStopped = false
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init(engines: Int) {
        due = [UInt64](repeating: .max, count: engines)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Any thread may say when an engine is due next; nil when it is idle.
    func schedule(_ engine: Int, at time: MonotonicTime?) {
        let next = time.map { $0.nanoseconds == .max ? .max : ($0.nanoseconds / Self.grain + 1) * Self.grain } ?? .max
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        due[engine] = next
        guard next < wakes else { return }
        wakes = next
        pthread_cond_signal(changed)
    }

    /// Makes `run` return.
    func stop() {
        pthread_mutex_lock(mutex)
        isStopped = true
        wakes = 0
        pthread_cond_signal(changed)
        pthread_mutex_unlock(mutex)
    }

    /// Calls `advance` with each engine that is due, until `stop`.
    func run(_ advance: (Int) -> Void) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !isStopped {
            let now = MonotonicTime.now().nanoseconds
            let engines = due.indices.filter { due[$0] <= now }
            guard engines.isEmpty else {
                for engine in engines { due[engine] = .max }
                // Nobody needs to wake a thread that looks again before it sleeps.
                wakes = 0
                pthread_mutex_unlock(mutex)
                for engine in engines { advance(engine) }
                pthread_mutex_lock(mutex)
                continue
            }
            wakes = due.min() ?? .max
            let time = min(wakes, now + 3_600_000_000_000)
            var deadline = timespec(tv_sec: Int(time / 1_000_000_000), tv_nsec: Int(time % 1_000_000_000))
            pthread_cond_timedwait(changed, mutex, &deadline)
        }
    }
}
